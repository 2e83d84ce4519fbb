import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

struct ResidencyTests {
    private let directory: TemporaryDirectory
    private let object: DiskObject

    init() throws {
        directory = try TemporaryDirectory()
        object = try DiskObject(size: (9 << 20) + 4321)
    }

    @Test func afterwardsAllIsOnTheDiskAndProven() async throws {
        let rig = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = rig.content(object, bucket)
        let seen = Lock([Int]())
        try await rig.cache.makeResident(content, usesDisk: true) { bytes in seen.withLock { $0.append(bytes) } }
        #expect(content.backing() != nil)
        #expect(bucket.requested == object.bytes.count)
        #expect(seen.withLock { $0.last } == object.bytes.count)
        #expect(
            rig.disk.residency(object.identity) == .init(bytes: object.bytes.count, isProven: true, isPinned: false)
        )
        #expect(try await rig.readAll(content) == object.bytes)
        #expect(bucket.requested == object.bytes.count)
    }

    @Test func whatIsThereIsOnlyProven() async throws {
        let first = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        try await first.cache.makeResident(first.content(object, bucket), usesDisk: true)
        let second = try DiskRig(directory.path)
        #expect(!second.disk.residency(object.identity).isProven)
        let content = second.content(object, bucket)
        try await second.cache.makeResident(content, usesDisk: true)
        #expect(content.backing() != nil)
        #expect(bucket.requested == object.bytes.count)
    }

    @Test func whatRottedOnTheDiskIsFetchedAgain() async throws {
        let first = try DiskRig(directory.path)
        try await first.cache.makeResident(first.content(object, LyingSource(object.bytes)), usesDisk: true)
        let file = try FileDescriptor(path: object.data(in: directory.path), flags: O_RDWR)
        try file.write([1, 2, 3, 4, 5], at: 3 << 20)
        let second = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = second.content(object, bucket)
        try await second.cache.makeResident(content, usesDisk: true)
        #expect(try content.backing()?.contents == object.bytes)
        #expect(bucket.requested == 1 << 20)
    }

    @Test func readersAndAPrefetchFetchEachBlockOnce() async throws {
        let rig = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = rig.content(object, bucket)
        async let whole: Void = rig.cache.makeResident(content, usesDisk: true)
        var bytes: [UInt8] = []
        while bytes.count < content.size {
            let count = min(1 << 20, content.size - bytes.count)
            bytes += try await rig.cache.read(content, ByteRange(offset: bytes.count, count: count))
        }
        try await whole
        #expect(bytes == object.bytes)
        // From the network once; a reader may be too early for the disk, never for another fetch.
        #expect(bucket.requested == object.bytes.count)
    }

    @Test func withoutADiskItStaysInMemory() async throws {
        let rig = try DiskRig(directory.path, memory: 32 << 20)
        let bucket = LyingSource(object.bytes)
        let content = CachedContent(source: bucket, checks: object.checks)
        try await rig.cache.makeResident(content, usesDisk: false)
        #expect(rig.cache.residentBytes[content.id] ?? 0 >= object.bytes.count)
        #expect(rig.cache.hit(content, ByteRange(offset: 8 << 20, count: 1 << 20)) { _ in })
    }

    @Test func whatTheDiskWouldNotTakeIsRefused() async throws {
        let rig = try DiskRig(directory.path)
        let content = CachedContent(source: LyingSource(object.bytes), checks: .whole(object.identity.crc32c))
        await #expect(throws: ResidencyFailure.unprovable) { try await rig.cache.makeResident(content, usesDisk: true) }
    }

    @Test func whereThereIsNoRoomItSaysSo() async throws {
        let rig = try DiskRig(directory.path, limit: 4 << 20)
        let content = rig.content(object, LyingSource(object.bytes))
        await #expect(throws: ResidencyFailure.noRoom) { try await rig.cache.makeResident(content, usesDisk: true) }
        while !rig.cache.isIdle { await Task.yield() }
    }

    @Test func wrongBytesAreToldAsSuch() async throws {
        let rig = try DiskRig(directory.path)
        var wrong = object.bytes
        wrong[5 << 20] ^= 1
        let content = rig.content(object, LyingSource(wrong))
        await #expect(throws: ResidencyFailure.read(.corrupt)) {
            try await rig.cache.makeResident(content, usesDisk: true)
        }
        while !rig.cache.isIdle { await Task.yield() }
    }

    @Test func itEndsWhenItsTaskDoes() async throws {
        let rig = try DiskRig(directory.path)
        let content = rig.content(object, SilentSource(size: object.bytes.count))
        let began = Gate()
        let task = Task { () -> ResidencyFailure? in
            do throws(ResidencyFailure) {
                try await rig.cache.makeResident(content, usesDisk: true) { _ in began.open() }
                return nil
            } catch {
                return error
            }
        }
        try await began.passed()
        task.cancel()
        #expect(await task.value == .cancelled)
    }
}

struct PinTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func object(_ name: String, _ mebibytes: Int) throws -> DiskObject {
        try DiskObject(name, size: mebibytes << 20, seed: UInt64(name.utf8.first ?? 0))
    }

    @Test func aPinnedFileSurvivesAPassOverMoreThanFits() async throws {
        let pinned = try object("pinned", 4)
        let first = try DiskRig(directory.path, limit: 12 << 20)
        let content = first.content(pinned, LyingSource(pinned.bytes))
        #expect(try await first.disk.pin([content]) == nil)
        try await first.cache.makeResident(content, usesDisk: true)

        // Another process, later, that knows of it only what the table says.
        let second = try DiskRig(directory.path, limit: 12 << 20)
        for name in ["a", "b", "c", "d", "e"] {
            let other = try object(name, 4)
            let scanned = second.content(other, LyingSource(other.bytes))
            for _ in 0..<2 { _ = try await second.readAll(scanned) }
        }
        #expect(second.metrics.diskEvictions > 0)
        let bucket = LyingSource(pinned.bytes)
        #expect(try await second.readAll(second.content(pinned, bucket)) == pinned.bytes)
        #expect(bucket.requested == 0)
        #expect(second.disk.residency(pinned.identity).isPinned)
    }

    @Test func whatIsUnpinnedGoesAsOthersDo() async throws {
        let pinned = try object("pinned", 4)
        let rig = try DiskRig(directory.path, limit: 12 << 20)
        let content = rig.content(pinned, LyingSource(pinned.bytes))
        #expect(try await rig.disk.pin([content]) == nil)
        _ = try await rig.readAll(content)
        try await rig.disk.unpin(content)
        #expect(try rig.disk.pinRoom().pinned == 0)
        for name in ["a", "b", "c"] {
            let other = try object(name, 4)
            _ = try await rig.readAll(rig.content(other, LyingSource(other.bytes)))
        }
        #expect(rig.disk.residency(pinned.identity).bytes < pinned.bytes.count)
    }

    @Test func whatDoesNotFitIsRefusedWithNumbers() async throws {
        let rig = try DiskRig(directory.path, limit: 20 << 20)
        let (small, large) = (try object("small", 4), try object("large", 15))
        let contents = [small, large].map { rig.content($0, LyingSource($0.bytes)) }
        let limit = (20 << 20) / 100 * 90
        #expect(try await rig.disk.pin(contents) == PinRoom(pinned: 0, limit: limit))
        #expect(!rig.disk.residency(small.identity).isPinned, "all or none")
        #expect(try await rig.disk.pin([contents[0]]) == nil)
        #expect(try await rig.disk.pin([contents[0]]) == nil, "again is no fault")
        #expect(try await rig.disk.pin([contents[1]]) == PinRoom(pinned: 4 << 20, limit: limit))
    }

    @Test func aPinOfAnotherFileOrATornOneIsNone() throws {
        let bytes = DiskTable.encode(pinnedSince: 1_700_000_000, name: "one")
        #expect(DiskTable.pin(bytes, name: "one") == 1_700_000_000)
        #expect(DiskTable.pin(bytes, name: "other") == nil)
        #expect(DiskTable.pin(Array(bytes.dropLast()), name: "one") == nil)
        #expect(DiskTable.pin(Array(repeating: 0, count: DiskTable.pinSize), name: "one") == nil)
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(DiskTable.pin(flipped, name: "one") == nil)
        }
    }

    private func candidate(_ name: String, _ bytes: Int, pinned: Int64?) -> EvictionPolicy.Candidate {
        EvictionPolicy.Candidate(
            name: name,
            bytes: bytes,
            use: .init(last: 1, isProtected: false),
            isFilling: false,
            size: bytes,
            pinnedSince: pinned
        )
    }

    @Test func inASmallerCacheTheFirstPinsHold() {
        let all = [
            candidate("late", 500, pinned: 9), candidate("early", 600, pinned: 2), candidate("none", 100, pinned: nil),
        ]
        #expect(EvictionPolicy.pinned(all, limit: 1000).names == ["early"])
        #expect(EvictionPolicy.order(all, requester: "new", limit: 1000).map(\.name) == ["none", "late"])
        #expect(EvictionPolicy.order(all, requester: "new", limit: 10_000).map(\.name) == ["none"])
    }

    @Test func aPinThatNobodyUsesLapses() async throws {
        let pinned = try object("pinned", 1)
        let rig = try DiskRig(directory.path)
        let content = rig.content(pinned, LyingSource(pinned.bytes))
        #expect(try await rig.disk.pin([content]) == nil)
        _ = try await rig.readAll(content)
        let file = try #require(try DiskDirectory.files(rig.disk.directory).first)
        let now = SystemTime().timeOfDay()
        let later = now.advanced(by: .seconds(DiskDirectory.pinSeconds + 60))
        #expect(DiskDirectory.candidate(file, rig.disk.directory, now: now).pinnedSince != nil)
        #expect(DiskDirectory.candidate(file, rig.disk.directory, now: later).pinnedSince == nil)
    }
}
