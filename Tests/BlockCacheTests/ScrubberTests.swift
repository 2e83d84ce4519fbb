import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

/// Files that somebody has open are read back from the disk again and again, and repaired.
struct ScrubberTests {
    private let directory: TemporaryDirectory
    private let time = ManualTime()
    private let object: DiskObject
    private let bucket: LyingSource

    init() throws {
        directory = try TemporaryDirectory()
        object = try DiskObject()
        bucket = LyingSource(object.bytes)
    }

    private func rig() throws(Errno) -> DiskRig {
        try DiskRig(directory.path, scrubAge: .seconds(3600), time: time)
    }

    private func scrubber(_ rig: DiskRig, _ content: CachedContent) -> Scrubber {
        Scrubber(rig.cache, rig.disk) { [content] }
    }

    @Test func whatChangedOnTheDiskIsRepairedUnderThoseWhoHaveItOpen() async throws {
        let rig = try rig()
        let content = rig.content(object, bucket)
        _ = try await rig.readAll(content)
        let file = try #require(content.backing())
        try Damage.flip(object.data(in: directory.path), at: 1_500_000)
        #expect(try file.contents != object.bytes)
        let scrubber = scrubber(rig, content)
        await scrubber.look()
        #expect(try file.contents != object.bytes, "it is not due yet")
        time.advance(by: .seconds(3601))
        await scrubber.look()
        #expect(try file.contents == object.bytes)
        #expect(try content.backing()?.contents == object.bytes)
        #expect(rig.metrics.scrubs(.repaired) == 1 && rig.metrics.diskMismatches == 1)
        await scrubber.look()
        #expect(rig.metrics.scrubs(.right) == 0, "it was proven just now")
        time.advance(by: .seconds(3601))
        await scrubber.look()
        #expect(rig.metrics.scrubs(.right) == 1)
    }

    @Test func whatCannotBeFetchedIsTriedAgainAndNotOpenedMeanwhile() async throws {
        let first = try rig()
        _ = try await first.readAll(first.content(object, bucket))
        // Another one has nothing of it in memory.
        let rig = try rig()
        let content = rig.content(object, bucket)
        await rig.settle()
        let file = try #require(content.backing())
        try Damage.flip(object.data(in: directory.path), at: 5)
        time.advance(by: .seconds(3601))
        bucket.fail(ObjectStoreError(.unavailable, "no network"))
        let scrubber = scrubber(rig, content)
        await scrubber.look()
        #expect(rig.metrics.scrubs(.unrepaired) == 1)
        #expect(content.backing() == nil)
        bucket.fail(nil)
        await scrubber.look()
        #expect(rig.metrics.scrubs(.repaired) == 1)
        #expect(try file.contents == object.bytes)
        #expect(content.backing() != nil)
    }

    @Test func itLooksByItselfAsLongAsItIsNotStopped() async throws {
        let rig = try rig()
        let content = rig.content(object, bucket)
        _ = try await rig.readAll(content)
        let looked = Monitor(0)
        let scrubber = Scrubber(rig.cache, rig.disk) {
            looked.withLock { $0 += 1 }
            return [content]
        }
        scrubber.start()
        func isOver(_ patience: Duration) -> Bool {
            looked.wait(until: SystemTime().now().advanced(by: patience)) { $0 >= 3 }
        }
        for _ in 0..<2000 where !isOver(.milliseconds(20)) { time.advance(by: Scrubber.pause(.seconds(3600))) }
        #expect(isOver(.zero))
        scrubber.stop()
    }

    /// A file that was proven, let go and opened again long after is not believed because of that.
    @Test func anOldProofIsForgotten() async throws {
        let rig = try rig()
        _ = try await rig.readAll(rig.content(object, bucket))
        time.advance(by: .seconds(3601))
        let path = object.data(in: directory.path)
        var status = stat()
        #expect(stat(path, &status) == 0)
        try Damage.flip(path, at: 77)
        // Nothing tells of it.
        var times = [status.st_atim, status.st_mtim]
        #expect(utimensat(AT_FDCWD, path, &times, 0) == 0)
        let content = rig.content(object, bucket)
        await rig.settle()
        #expect(content.backing() == nil)
        #expect(rig.metrics.diskMismatches == 1)
    }
}
