import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

/// Several caches on one directory, as several processes have them.
struct DiskSharingTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func eachBlockIsFetchedOnce() async throws {
        let object = try DiskObject(size: 9_000_000)
        let bucket = LyingSource(object.bytes)
        let rigs = [try DiskRig(directory.path), try DiskRig(directory.path), try DiskRig(directory.path)]
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for rig in rigs {
                group.addTask { try await rig.readAll(rig.content(object, bucket)) == object.bytes }
            }
            for try await isRight in group { #expect(isRight) }
        }
        #expect(bucket.requested == object.bytes.count)
    }

    @Test func whoDiesWhileItFetchesIsSucceeded() async throws {
        let object = try DiskObject()
        let bucket = LyingSource(object.bytes)
        let second = try DiskRig(directory.path)
        let content = second.content(object, bucket)
        let first = try await claimAndDie(object)
        async let bytes = second.readAll(content)
        first.die()
        #expect(try await bytes == object.bytes)
    }

    @Test func whoIsFrozenWhileItFetchesIsNotWaitedForForEver() async throws {
        let object = try DiskObject()
        let bucket = LyingSource(object.bytes)
        let first = try await claimAndDie(object)
        let second = try DiskRig(directory.path, patience: .milliseconds(20))
        #expect(try await second.readAll(second.content(object, bucket)) == object.bytes)
        first.die()
    }

    /// A process that has claimed every block and delivers none.
    private final class Holder: Sendable {
        private let files: Lock<DiskFiles?>
        init(_ files: DiskFiles) { self.files = Lock(files) }
        func die() { files.withLock { $0 = nil } }
    }

    private func claimAndDie(_ object: DiskObject) async throws -> Holder {
        let path = directory.appending("blocks-1")
        try DirectoryTree.make(path)
        let files = try DiskFiles(object.identity, in: FileDescriptor(path: path, flags: O_RDONLY))
        for block in 0..<object.identity.blockCount { #expect(try files.claim(block)) }
        return Holder(files)
    }

    // MARK: Eviction

    private func present(_ objects: [DiskObject]) -> [Bool] {
        objects.map { access($0.data(in: directory.path), F_OK) == 0 }
    }

    @Test func whatWasReadAgainSurvivesAPassOverMoreThanFits() async throws {
        let hot = try DiskObject("hot", seed: 1)
        for _ in 0..<2 {
            let rig = try DiskRig(directory.path, limit: 11 << 20)
            _ = try await rig.readAll(rig.content(hot, LyingSource(hot.bytes)))
        }
        let others = try (0..<8).map { try DiskObject("scan-\($0)", seed: UInt64(10 + $0)) }
        let rig = try DiskRig(directory.path, limit: 11 << 20)
        for other in others {
            #expect(try await rig.readAll(rig.content(other, LyingSource(other.bytes))) == other.bytes)
        }
        #expect(rig.metrics.diskEvictions > 0)
        #expect(present([hot]) == [true])
        let bucket = LyingSource(hot.bytes)
        #expect(try await rig.readAll(rig.content(hot, bucket)) == hot.bytes)
        #expect(bucket.requested == 0)
        let files = try DiskDirectory.files(FileDescriptor(path: directory.appending("blocks-1"), flags: O_RDONLY))
        #expect(files.reduce(0) { $0 + $1.allocated } <= 11 << 20)
    }

    @Test func whatTheKernelReadsIsNotEvicted() async throws {
        let used = try DiskObject("used", seed: 1)
        let first = try DiskRig(directory.path, limit: 8 << 20)
        let content = first.content(used, LyingSource(used.bytes))
        _ = try await first.readAll(content)
        let file = try #require(content.backing())
        let second = try DiskRig(directory.path, limit: 8 << 20)
        for index in 0..<6 {
            let other = try DiskObject("scan-\(index)", seed: UInt64(10 + index))
            #expect(try await second.readAll(second.content(other, LyingSource(other.bytes))) == other.bytes)
        }
        #expect(present([used]) == [true])
        #expect(try file.contents == used.bytes)
    }

    @Test func whatIsEvictedUnderAReaderIsReadOn() async throws {
        let object = try DiskObject()
        let rig = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = rig.content(object, bucket)
        _ = try await rig.readAll(content)
        let folder = try FileDescriptor(path: directory.appending("blocks-1"), flags: O_RDONLY)
        #expect(try DiskDirectory.remove(object.identity.name, folder))
        #expect(content.backing() == nil)
        let other = BlockCache(budget: 8 << 20)
        #expect(try await other.read(content, ByteRange(offset: 0, count: 1000)) == Array(object.bytes[..<1000]))
    }
}
