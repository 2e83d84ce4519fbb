import Foundation
import Testing

/// `penstock mount` of a prefix, for as long as a test needs it. Mounting takes root and /dev/fuse.
final class MountedPrefix: Sendable {
    struct NotMounted: Error { let reason: String }

    private let program: RunningProgram
    private let directory: URL
    /// Where it is mounted.
    var path: String { directory.path }

    init(
        _ servers: EmulatedServers,
        _ prefix: String,
        _ more: [String] = [],
        memory: String = "16M",
        environment: [String: String] = [:]
    ) async throws {
        directory = servers.root.appending(path: "mount-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let source = "gs://\(EmulatedServers.bucket)/\(prefix)"
        let arguments = ["mount", source, directory.path, "--memory", memory] + more
        let program = try servers.start(arguments, environment: environment)
        self.program = program
        let isDecided = try await eventually(within: .seconds(60)) {
            !program.printed.output.isEmpty || !program.isRunning
        }
        guard isDecided, program.isRunning else { throw NotMounted(reason: "\(program.printed)") }
    }

    func path(_ name: String) -> String { directory.appending(path: name).path }

    /// SIGKILL, and its end; the mount stays, dead.
    func kill() async throws { _ = try await program.killed() }

    deinit { umount2(directory.path, Int32(MNT_DETACH)) }

    /// Every file with its bytes, read through the kernel.
    func contents() throws -> [String: Data] {
        var contents: [String: Data] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
            let file = directory.appending(path: path)
            var isDirectory: ObjCBool = false
            guard FileManager.default.fileExists(atPath: file.path, isDirectory: &isDirectory), !isDirectory.boolValue
            else { continue }
            contents[path] = try Data(contentsOf: file)
        }
        return contents
    }

    /// The sum of a counter over its labels, as the mount tells it over its socket.
    func metric(_ name: String) throws -> Double {
        let socket = try penstockAttribute("socket", directory.path)
        let reply = try Command.run("curl", ["-sf", "--unix-socket", socket, "http://localhost/metrics"])
        guard reply.status == 0 else { throw NotMounted(reason: "\(reply)") }
        let lines = reply.output.split(separator: "\n").filter { $0.hasPrefix(name + " ") || $0.hasPrefix(name + "{") }
        guard !lines.isEmpty else { throw NotMounted(reason: "no metric \(name)") }
        return lines.compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }

    /// The process that was started.
    var processID: Int32 { program.processID }

    /// Waits for its end.
    func ended() async throws -> EndedProgram { try await program.ended() }

    /// Ends it as a person does.
    @discardableResult
    func unmount(expecting status: Int32 = 0) async throws -> EndedProgram {
        program.send(SIGTERM)
        let ended = try await program.ended()
        #expect(ended.status == status, "\(ended)")
        let mounts = try String(contentsOf: URL(filePath: "/proc/self/mounts"), encoding: .utf8)
        #expect(!mounts.contains(directory.path))
        return ended
    }
}
