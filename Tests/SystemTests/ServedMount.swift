import Dispatch
import Foundation
import Glibc
import Testing

/// A `penstock mount` in a child process: a test that reads what its own process serves could wait for itself.
final class ServedMount {
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    let mountPoint: String
    let process: Process
    private let errors: URL

    /// Mounts and waits for the ready line.
    ///
    /// - Parameters:
    ///   - program: another copy of the release program.
    ///   - wrapper: a command that runs it.
    /// - Throws: what the command said when it did not get ready; also when there is no /dev/fuse.
    init(
        _ source: String,
        at mountPoint: String,
        _ arguments: [String] = [],
        program: String? = nil,
        through wrapper: [String] = []
    ) throws {
        guard access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw Failed(description: "mount tests need /dev/fuse, which is missing or closed to this user")
        }
        self.mountPoint = mountPoint
        errors = URL(filePath: mountPoint + ".log")
        _ = FileManager.default.createFile(atPath: errors.path, contents: nil)
        process = Process()
        let program = try program ?? ReleasePrograms.path("penstock")
        let command = wrapper + [program, "mount", source, mountPoint] + arguments
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        let output = Pipe()
        process.standardOutput = output
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        var line = Data()
        while line.last != 0x0A, let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty {
            line += byte
        }
        guard String(decoding: line, as: UTF8.self).hasPrefix("ready:") else {
            process.waitUntilExit()
            throw Failed(description: "penstock mount ended with \(process.terminationStatus): \(log)")
        }
    }

    /// What it has written to standard error.
    var log: String { (try? String(contentsOf: errors, encoding: .utf8)) ?? "" }

    var isMounted: Bool { Self.isMounted(mountPoint) }

    static func isMounted(_ path: String) -> Bool {
        let table = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
        return table.split(separator: "\n").contains { $0.split(separator: " ").dropFirst(4).first == Substring(path) }
    }

    /// Sends a signal and waits for the end; its exit code.
    @discardableResult
    func end(_ signal: Int32 = SIGTERM) -> Int32 {
        kill(process.processIdentifier, signal)
        process.waitForEnd()
        return process.terminationStatus
    }

    deinit {
        if process.isRunning { end(SIGTERM) }
    }
}

extension Process {
    /// Waits for its end; kills what has none within minutes, so that no test waits for ever.
    func waitForEnd() {
        let process = processIdentifier
        let watchdog = DispatchWorkItem { kill(process, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + 180, execute: watchdog)
        waitUntilExit()
        watchdog.cancel()
    }
}

/// A directory of its own for a test, with a mount point in it.
struct MountArea {
    let root: String
    var mountPoint: String { root + "/mnt" }
    var objects: String { root + "/objects" }
    var source: String { "file://" + objects }

    init() throws {
        root = NSTemporaryDirectory() + "penstock-mount-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root + "/mnt", withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: root + "/objects", withIntermediateDirectories: true)
    }

    /// Removes everything, and first of all a mount that a failed test may have left.
    func remove() {
        if ServedMount.isMounted(mountPoint) {
            _ = try? Command.run(try ReleasePrograms.path("penstock"), ["unmount", "--detach", mountPoint])
        }
        try? FileManager.default.removeItem(atPath: root)
    }
}

/// A command that was run to its end.
struct Command {
    let status: Int32
    let output: String
    let errors: String

    static func run(_ program: String, _ arguments: [String]) throws -> Command {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        let said = try errors.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return Command(
            status: process.terminationStatus,
            output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: said, as: UTF8.self)
        )
    }

    static func penstock(_ arguments: [String]) throws -> Command {
        try run(try ReleasePrograms.path("penstock"), arguments)
    }
}

/// A file, opened by its number, so that the tests see the kernel's own errors.
final class OpenedFile: Sendable {
    struct Failure: Error, Equatable {
        let number: Int32
    }

    /// O_DIRECT, a GNU extension that Swift's Glibc module does not declare (asm/fcntl.h).
    #if arch(arm64)
        static let direct: Int32 = 0o200000
    #else
        static let direct: Int32 = 0o40000
    #endif

    let descriptor: Int32

    /// - Parameter mode: of a file that O_CREAT makes.
    init(_ path: String, _ flags: Int32 = O_RDONLY, mode: mode_t = 0o600) throws(Failure) {
        descriptor = open(path, flags, mode)
        if descriptor < 0 { throw Failure(number: errno) }
    }

    deinit { close(descriptor) }

    /// Writes all of the bytes, behind those before.
    func write(_ bytes: Data) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if count < 0 { throw Failure(number: errno) }
            done += count
        }
    }

    /// Reads until `count` bytes or the file's end.
    func read(at offset: Int, _ count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let length = bytes.withUnsafeMutableBytes { buffer in
                pread(descriptor, buffer.baseAddress.map { $0 + done }, count - done, off_t(offset + done))
            }
            if length < 0 { throw Failure(number: errno) }
            if length == 0 { break }
            done += length
        }
        return Array(bytes.prefix(done))
    }
}

/// Whether bytes are what they should be; by memcmp(3), because a loop over 40 MiB takes seconds in a debug build.
func isSame(_ bytes: [UInt8], _ expected: ArraySlice<UInt8>) -> Bool {
    guard bytes.count == expected.count else { return false }
    return bytes.withUnsafeBytes { left in
        expected.withUnsafeBytes { right in
            guard let left = left.baseAddress, let right = right.baseAddress else { return true }
            return memcmp(left, right, bytes.count) == 0
        }
    }
}

/// The errno of a call that must fail; 0 when it did not.
func failure(_ call: () -> Int32) -> Int32 {
    errno = 0
    return call() < 0 ? errno : 0
}

/// What a mount says of a file or of itself; empty when it says nothing under that name.
func penstockAttribute(_ name: String, _ path: String) throws -> String {
    try Command.run("getfattr", ["--only-values", "-n", "user.penstock.\(name)", path]).output
}
