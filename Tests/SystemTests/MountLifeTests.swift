import Checksums
import Foundation
import Glibc
import Manifests
import ObjectStorage
import TestSupport
import Testing

/// How mounts begin and end, and what becomes of readers when things go wrong below them.
@Suite(.serialized) struct MountLifeTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 17)
        return random.bytes((24 << 20) + 77)
    }()

    @Test func wrongBytesAreAnErrorAndNothingWrongIsDelivered() async throws {
        let area = try MountArea()
        defer { area.remove() }
        var rotten = bytes
        let bad = 13_000_000
        rotten[bad] ^= 0x10
        try await StoredSnapshot(area.objects).publish([("w", bytes)], stored: ["w": rotten])
        let mount = try ServedMount(area.source, at: area.mountPoint, ["--kernel-read-ahead", "0"])
        let file = try OpenedFile(mount.mountPoint + "/w")
        var failures = 0
        for offset in stride(from: 0, to: bytes.count, by: 65_536) {
            let expected = bytes[offset..<min(offset + 65_536, bytes.count)]
            do {
                #expect(isSame(try file.read(at: offset, 65_536), expected))
            } catch {
                #expect(error == .init(number: EIO))
                failures += 1
            }
        }
        #expect(failures >= 1 && failures < 64)
        #expect(throws: OpenedFile.Failure(number: EIO)) { try file.read(at: bad, 1) }
        #expect(mount.log.contains("wrong bytes again"))
        #expect(mount.log.contains("\(bad / 65_536 * 65_536)"))
    }

    @Test func withoutCRCTablesWholeObjectsAreProvenBeforeTheyOpen() async throws {
        let area = try MountArea()
        defer { area.remove() }
        var rotten = bytes
        rotten[bytes.count - 1] ^= 1
        try await StoredSnapshot(area.objects).publish(
            [("right", bytes), ("wrong", Array(bytes.reversed()))],
            stored: ["wrong": rotten]
        )
        try FileManager.default.removeItem(atPath: area.objects + "/.penstock/crc")
        let mount = try ServedMount(area.source, at: area.mountPoint)
        #expect(try OpenedFile(mount.mountPoint + "/right").read(at: 0, bytes.count) == bytes)
        #expect(throws: OpenedFile.Failure(number: EIO)) { try OpenedFile(mount.mountPoint + "/wrong").read(at: 0, 1) }
        #expect(mount.log.contains("is not opened"))
    }

    @Test func anObjectOverwrittenUnderAReaderIsOldBytesOrStale() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let objects = try StoredSnapshot(area.objects)
        try await objects.put("w", bytes)
        let mount = try ServedMount(area.source, at: area.mountPoint, ["--listing-ttl", "0s", "--memory", "16M"])
        let old = try OpenedFile(mount.mountPoint + "/w")
        #expect(try old.read(at: 0, 1000) == Array(bytes[..<1000]))
        let other = Array(bytes.reversed())
        try await objects.put("w", other)
        var isStale = false
        for offset in stride(from: 0, to: bytes.count, by: 1 << 20) {
            let expected = bytes[offset..<min(offset + 1 << 20, bytes.count)]
            do {
                #expect(isSame(try old.read(at: offset, 1 << 20), expected))
            } catch {
                #expect(error == .init(number: ESTALE))
                isStale = true
            }
        }
        #expect(isStale)
        #expect(try OpenedFile(mount.mountPoint + "/w").read(at: 0, bytes.count) == other)
    }

    @Test func aSnapshotThatIsUpdatedReadsAsItWasUntilItIsMountedAgain() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let objects = try StoredSnapshot(area.objects)
        try await objects.publish([("w", bytes)])
        let mount = try ServedMount(area.source, at: area.mountPoint, ["--memory", "16M"])
        let aside = try PenstockPaths(ObjectPrefix("")).replaced(SHA256Digest.of(bytes)).value
        try await objects.put(aside, bytes)
        let next = Array(bytes.reversed())
        try await objects.publish([("w", next)])
        #expect(try OpenedFile(mount.mountPoint + "/w").read(at: 0, bytes.count) == bytes)
        #expect(mount.end() == 0)
        let again = try ServedMount(area.source, at: area.mountPoint)
        #expect(try OpenedFile(again.mountPoint + "/w").read(at: 0, bytes.count) == next)
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalUnmountsAlsoWhileAFileIsOpen(signal: Int32) async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try ServedMount(area.source, at: area.mountPoint)
        let file = try OpenedFile(mount.mountPoint + "/w")
        #expect(try file.read(at: 0, 10) == Array(bytes[..<10]))
        // Twice, as timeout(1) does.
        kill(mount.process.processIdentifier, signal)
        #expect(mount.end(signal) == 0)
        #expect(!mount.isMounted)
        #expect(try FileManager.default.contentsOfDirectory(atPath: area.mountPoint).isEmpty)
    }

    @Test func whatAKilledDaemonLeftIsTakenAway() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let dead = try ServedMount(area.source, at: area.mountPoint, ["--keeper", "off"])
        dead.end(SIGKILL)
        #expect(dead.isMounted)
        #expect(throws: OpenedFile.Failure(number: ENOTCONN)) { try OpenedFile(area.mountPoint + "/w") }
        let mount = try ServedMount(area.source, at: area.mountPoint)
        #expect(try OpenedFile(mount.mountPoint + "/w").read(at: 0, bytes.count) == bytes)
        #expect(mount.log.contains("took away the mount"))
    }

    @Test func unmountEndsTheDaemon() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try ServedMount(area.source, at: area.mountPoint)
        var file: OpenedFile? = try OpenedFile(mount.mountPoint + "/w")
        let busy = try Command.penstock(["unmount", mount.mountPoint])
        #expect(busy.status == 6)
        #expect(busy.errors.contains("in use"))
        #expect(file != nil)
        file = nil
        #expect(try Command.penstock(["unmount", mount.mountPoint]).status == 0)
        mount.process.waitForEnd()
        #expect(mount.process.terminationStatus == 0)
        let again = try Command.penstock(["unmount", mount.mountPoint])
        #expect(again.status == 2)
        #expect(again.errors.contains("nothing is mounted"))
    }

    @Test func mountsOfOthersAreLeftAlone() throws {
        let refused = try Command.penstock(["unmount", "/proc"])
        #expect(refused.status == 2)
        #expect(refused.errors.contains("not a mount of penstock"))
        let area = try MountArea()
        defer { area.remove() }
        #expect(try Command.penstock(["mount", area.source, "/proc"]).status == 2)
    }

    @Test func placesThatCannotBeUsedAreRefused() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", [1, 2, 3])])
        try Data([1]).write(to: URL(filePath: area.mountPoint + "/file"))
        let full = try Command.penstock(["mount", area.source, area.mountPoint])
        #expect(full.status == 2)
        #expect(full.errors.contains("not empty"))
        #expect(try Command.penstock(["mount", area.source, area.mountPoint + "/file"]).status == 2)
        #expect(try Command.penstock(["mount", area.source, area.mountPoint + "/missing"]).status == 2)
        let forced = try ServedMount(area.source, at: area.mountPoint, ["--force"])
        #expect(try OpenedFile(area.mountPoint + "/w").read(at: 0, 9) == [1, 2, 3])
        let twice = try Command.penstock(["mount", area.source, area.mountPoint])
        #expect(twice.status == 2)
        #expect(twice.errors.contains("mounted already"))
        #expect(forced.end() == 0)
    }

    @Test func whatIsNotThereOrNotCompleteIsNotMounted() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let objects = try StoredSnapshot(area.objects)
        let empty = try Command.penstock(["mount", area.source, area.mountPoint])
        #expect(empty.status == 4)
        #expect(empty.errors.contains("nothing at"))
        try await objects.put("half", bytes)
        try await objects.put(".penstock/intent.json", [0x7B, 0x7D])
        let half = try Command.penstock(["mount", area.source, area.mountPoint])
        #expect(half.status == 4)
        #expect(half.errors.contains("being published"))
        try await objects.put(".penstock/manifest.json", [0x7B, 0x7D])
        let damaged = try Command.penstock(["mount", area.source, area.mountPoint])
        #expect(damaged.status == 3)
        #expect(!ServedMount.isMounted(area.mountPoint))
    }

    @Test func aBackgroundMountIsReadyWhenTheCommandReturns() async throws {
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let started = try Command.run(
            "sh",
            [
                "-c",
                "\(try ReleasePrograms.path("penstock")) mount --background \(area.source) \(area.mountPoint) 2>/dev/null",
            ]
        )
        #expect(started.status == 0)
        #expect(started.output.hasPrefix("ready:"))
        #expect(try OpenedFile(area.mountPoint + "/w").read(at: 0, bytes.count) == bytes)
        #expect(try Command.penstock(["unmount", area.mountPoint]).status == 0)
        let missing = try Command.penstock(["mount", "--background", area.source, area.root + "/missing"])
        #expect(missing.status == 2)
    }
}
