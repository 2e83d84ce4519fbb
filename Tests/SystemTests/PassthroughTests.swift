import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing

/// The mount, its disk cache and the kernel together: what the kernel reads by itself, and what happens around it.
@Suite(.serialized, .enabled(if: isPassthroughPossible, "passthrough needs Linux 6.9 and CAP_SYS_ADMIN"))
struct PassthroughTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 61)
        return random.bytes((40 << 20) + 4321)
    }()

    private func mounted(_ area: MountArea, at name: String = "mnt", _ arguments: [String] = []) throws -> ServedMount {
        let mountPoint = area.root + "/" + name
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: true)
        let cache = ["--cache-dir", area.root + "/cache"]
        return try ServedMount(area.source, at: mountPoint, cache + arguments)
    }

    /// Who reads a file that is open.
    private func reader(of path: String) throws -> String {
        try Command.run("getfattr", ["--only-values", "-n", "user.penstock.passthrough", path]).output
    }

    /// Opens a file until the kernel reads it: the cache is filled by a read, and then proven in the background.
    private func opened(_ path: String) async throws -> OpenedFile {
        let last = Lock<OpenedFile?>(nil)
        let isRead = try await eventually(within: .seconds(120)) {
            last.withLock { $0 = nil }
            let file = try OpenedFile(path)
            last.withLock { $0 = file }
            return try reader(of: path) == "yes"
        }
        #expect(isRead)
        return try #require(last.withLock { $0 })
    }

    @Test func whatWasReadOnceIsReadByTheKernelAlsoAfterTheDaemonHasDied() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let first = try mounted(area)
        let path = first.mountPoint + "/w"
        #expect(isSame(try OpenedFile(path).read(at: 0, bytes.count), bytes[...]))
        let file = try await opened(path)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        first.end(SIGKILL)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        let second = try mounted(area)
        let again = try await opened(second.mountPoint + "/w")
        #expect(isSame(try again.read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        #expect(second.end() == 0)
    }

    @Test func aCacheFileThatIsDeletedUnderAHandleIsReadOnAndFilledAgain() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try mounted(area)
        let path = mount.mountPoint + "/w"
        _ = try OpenedFile(path).read(at: 0, bytes.count)
        var file: OpenedFile? = try await opened(path)
        #expect(try Command.run("find", [area.root + "/cache", "-type", "f", "-delete"]).status == 0)
        let other = try OpenedFile(path)
        #expect(isSame(try #require(file).read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try other.read(at: 0, bytes.count), bytes[...]))
        #expect(try reader(of: path) == "yes")
        file = nil
        #expect(isSame(try other.read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try OpenedFile(path).read(at: 0, bytes.count), bytes[...]))
        #expect(mount.end() == 0)
    }

    @Test func aHandleKeepsItsVersionWhenTheSnapshotIsReplaced() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let old = try mounted(area)
        _ = try OpenedFile(old.mountPoint + "/w").read(at: 0, bytes.count)
        let file = try await opened(old.mountPoint + "/w")
        let other = Array(bytes.reversed())
        try await StoredSnapshot(area.objects).publish([("w", other)])
        let new = try mounted(area, at: "new")
        _ = try OpenedFile(new.mountPoint + "/w").read(at: 0, bytes.count)
        let next = try await opened(new.mountPoint + "/w")
        #expect(isSame(try next.read(at: 0, bytes.count), other[...]))
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try OpenedFile(old.mountPoint + "/w").read(at: 0, bytes.count), bytes[...]))
        #expect(old.end() == 0 && new.end() == 0)
    }

    /// The cache has room for one of the two.
    @Test func whatTheKernelReadsIsRightWhileTheCacheIsFull() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let other = Array(bytes.reversed())
        try await StoredSnapshot(area.objects).publish([("w", bytes), ("x", other)])
        let mount = try mounted(area, ["--cache-size", "64M"])
        _ = try OpenedFile(mount.mountPoint + "/w").read(at: 0, bytes.count)
        let file = try await opened(mount.mountPoint + "/w")
        for _ in 1...2 {
            #expect(isSame(try OpenedFile(mount.mountPoint + "/x").read(at: 0, bytes.count), other[...]))
            #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        }
        #expect(try reader(of: mount.mountPoint + "/w") == "yes")
        #expect(mount.end() == 0)
    }

    @Test func switchedOffTheDaemonReadsWhatIsInTheCache() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try mounted(area, ["--passthrough", "off"])
        for _ in 1...2 {
            let file = try OpenedFile(mount.mountPoint + "/w")
            #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
            #expect(try reader(of: mount.mountPoint + "/w") == "")
        }
        #expect(mount.end() == 0)
    }
}

/// Linux 6.9, and CAP_SYS_ADMIN for the daemon that the tests start.
private let isPassthroughPossible: Bool = {
    let numbers = ((try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? "")
        .split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let capabilities = line.flatMap { UInt64($0.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) } ?? 0
    return numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 9) && capabilities & 1 << 21 != 0
}()
