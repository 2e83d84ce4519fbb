import Foundation
import Glibc
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

    @Test func whatWasReadOnceIsReadByTheKernelAlsoAfterTheDaemonHasDied() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let first = try mounted(area, ["--keeper", "off"])
        let path = first.mountPoint + "/w"
        #expect(isSame(try OpenedFile(path).read(at: 0, bytes.count), bytes[...]))
        let file = try await KernelRead.open(path)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        first.end(SIGKILL)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        let second = try mounted(area)
        let again = try await KernelRead.open(second.mountPoint + "/w")
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
        var file: OpenedFile? = try await KernelRead.open(path)
        #expect(try Command.run("find", [area.root + "/cache", "-type", "f", "-delete"]).status == 0)
        let other = try OpenedFile(path)
        #expect(isSame(try #require(file).read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try other.read(at: 0, bytes.count), bytes[...]))
        #expect(try KernelRead.reader(of: path) == "yes")
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
        let file = try await KernelRead.open(old.mountPoint + "/w")
        let other = Array(bytes.reversed())
        try await StoredSnapshot(area.objects).publish([("w", other)])
        let new = try mounted(area, at: "new")
        _ = try OpenedFile(new.mountPoint + "/w").read(at: 0, bytes.count)
        let next = try await KernelRead.open(new.mountPoint + "/w")
        #expect(isSame(try next.read(at: 0, bytes.count), other[...]))
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        #expect(isSame(try OpenedFile(old.mountPoint + "/w").read(at: 0, bytes.count), bytes[...]))
        #expect(old.end() == 0 && new.end() == 0)
    }

    /// A bit flips on the disk while the kernel reads the file for somebody; what opened it has died meanwhile, or has not.
    @Test(arguments: [false, true])
    func aFlippedBitUnderAnOpenHandleIsFoundAndRepaired(isInherited: Bool) async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try mounted(area, ["--cache-scrub", "1s"])
        let path = mount.mountPoint + "/w"
        _ = try OpenedFile(path).read(at: 0, bytes.count)
        let file = try await KernelRead.open(path)
        if isInherited {
            let processes = KeptProcesses(keeper: mount.process.processIdentifier)
            let worker = try #require(processes.killWorker())
            _ = try #require(try await processes.next(after: [worker]))
        }
        try flip(area, at: 20_000_000)
        let isRepaired = try await eventually(within: .seconds(120)) {
            posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
            return isSame(try file.read(at: 0, bytes.count), bytes[...])
        }
        #expect(isRepaired)
        let said = "a file of the disk cache is not what it was when it was proven"
        #expect(try await eventually(within: .seconds(60)) { mount.log.contains("is whole again") })
        #expect(isInherited || mount.log.contains(said), "\(mount.log)")
        #expect(isSame(try OpenedFile(path).read(at: 0, bytes.count), bytes[...]))
        #expect(mount.end() == 0)
    }

    /// Changes one bit of the cache's only data file.
    private func flip(_ area: MountArea, at offset: Int) throws {
        let found = try Command.run("find", [area.root + "/cache", "-name", "*.data"]).output
        let descriptor = open(found.trimmingCharacters(in: .whitespacesAndNewlines), O_RDWR)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        #expect(pread(descriptor, &byte, 1, off_t(offset)) == 1)
        byte ^= 1
        #expect(pwrite(descriptor, &byte, 1, off_t(offset)) == 1 && fsync(descriptor) == 0)
    }

    /// The cache has room for one of the two.
    @Test func whatTheKernelReadsIsRightWhileTheCacheIsFull() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let other = Array(bytes.reversed())
        try await StoredSnapshot(area.objects).publish([("w", bytes), ("x", other)])
        let mount = try mounted(area, ["--cache-size", "64M"])
        _ = try OpenedFile(mount.mountPoint + "/w").read(at: 0, bytes.count)
        let file = try await KernelRead.open(mount.mountPoint + "/w")
        for _ in 1...2 {
            #expect(isSame(try OpenedFile(mount.mountPoint + "/x").read(at: 0, bytes.count), other[...]))
            #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        }
        #expect(try KernelRead.reader(of: mount.mountPoint + "/w") == "yes")
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
            #expect(try KernelRead.reader(of: mount.mountPoint + "/w") == "")
        }
        #expect(mount.end() == 0)
    }
}

/// Linux 6.9, and CAP_SYS_ADMIN for the daemon that the tests start.
