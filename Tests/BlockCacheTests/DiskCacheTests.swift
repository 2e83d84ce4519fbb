import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

struct DiskCacheTests {
    private let directory: TemporaryDirectory
    private let object: DiskObject

    init() throws {
        directory = try TemporaryDirectory()
        object = try DiskObject()
    }

    @Test func afterARestartNothingIsFetchedAgain() async throws {
        let first = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        #expect(try await first.readAll(first.content(object, bucket)) == object.bytes)
        #expect(bucket.requested == object.bytes.count)

        let second = try DiskRig(directory.path)
        #expect(try await second.readAll(second.content(object, bucket)) == object.bytes)
        #expect(bucket.requested == object.bytes.count)
        #expect(second.metrics.diskBytes == object.bytes.count && second.metrics.networkBytes == 0)
    }

    @Test func whatIsPartlyThereIsFetchedInPart() async throws {
        let first = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = first.content(object, bucket)
        _ = try await first.cache.read(content, ByteRange(offset: 1 << 20, count: 1 << 20))
        await first.settle()
        let second = try DiskRig(directory.path)
        #expect(try await second.readAll(second.content(object, bucket)) == object.bytes)
        #expect(bucket.requested == object.bytes.count)
        #expect(second.metrics.diskBytes == 1 << 20)
    }

    @Test func aRandomReaderWritesNoBlockThatIsNotWhole() async throws {
        let rig = try DiskRig(directory.path)
        let content = rig.content(object, LyingSource(object.bytes))
        let range = ByteRange(offset: 70_000, count: 4096)
        #expect(try await rig.cache.read(content, range) == Array(object.bytes[range.offset..<range.end]))
        await rig.settle()
        #expect(content.disk?.presentBlocks == 0)
    }

    @Test func anotherGenerationIsAnotherFile() async throws {
        let rig = try DiskRig(directory.path)
        _ = try await rig.readAll(rig.content(object, LyingSource(object.bytes)))
        let other = try DiskObject(seed: 8, generation: 2)
        let bucket = LyingSource(other.bytes)
        #expect(try await rig.readAll(rig.content(other, bucket)) == other.bytes)
        #expect(bucket.requested == other.bytes.count)
    }

    @Test func aSmallObjectWithoutATableIsKeptToo() async throws {
        let small = try DiskObject(size: 300_000)
        let checks = ContentChecks.whole(small.identity.crc32c)
        let bucket = LyingSource(small.bytes)
        for _ in 0..<2 {
            let rig = try DiskRig(directory.path)
            let content = CachedContent(source: bucket, checks: checks, disk: rig.disk, identity: small.identity)
            #expect(try await rig.readAll(content) == small.bytes)
        }
        #expect(bucket.requested == small.bytes.count)
    }

    @Test func wrongBytesOfTheNetworkNeverReachTheDisk() async throws {
        let rig = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        bucket.flip(at: 1_500_000, times: .max)
        let content = rig.content(object, bucket)
        await #expect(throws: ReadFailure.corrupt) {
            try await rig.cache.read(content, ByteRange(offset: 1 << 20, count: 1 << 20))
        }
        await rig.settle()
        #expect(content.disk?.presentBlocks == 0)
    }

    @Test func nobodyElseMayLookIntoTheCache() async throws {
        let path = directory.appending("made/here")
        let rig = try DiskRig(path)
        _ = try await rig.readAll(rig.content(object, LyingSource(object.bytes)))
        for file in [path, "\(path)/blocks-1", object.data(in: path), object.table(in: path)] {
            #expect(try FileDescriptor(path: file, flags: O_RDONLY).status().mode & 0o077 == 0, "\(file)")
        }
    }

    @Test func aDirectoryThatVanishesCostsHitsAndNothingElse() async throws {
        let rig = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        let content = rig.content(object, bucket)
        _ = try await rig.cache.read(content, ByteRange(offset: 0, count: 1 << 20))
        await rig.settle()
        try DirectoryTree.remove(directory.appending("blocks-1"))
        #expect(try await rig.readAll(content) == object.bytes)
        let other = try DiskObject("other", seed: 9)
        #expect(try await rig.readAll(rig.content(other, LyingSource(other.bytes))) == other.bytes)
        #expect(rig.metrics.diskErrors > 0)
    }

    // MARK: The whole file

    @Test func aWholeFileIsProvenAndThenGivenToTheKernel() async throws {
        let rig = try DiskRig(directory.path)
        let content = rig.content(object, LyingSource(object.bytes))
        _ = try await rig.cache.read(content, ByteRange(offset: 0, count: 1 << 20))
        await rig.settle()
        #expect(content.backing() == nil)
        _ = try await rig.readAll(content)
        let file = try #require(content.backing())
        #expect(try file.contents == object.bytes)
        #expect(content.backing() === file)
    }

    @Test func afterARestartItIsReadBackFirst() async throws {
        let first = try DiskRig(directory.path)
        _ = try await first.readAll(first.content(object, LyingSource(object.bytes)))
        let second = try DiskRig(directory.path)
        let content = second.content(object, LyingSource(object.bytes))
        #expect(content.disk?.isProven == false)
        await second.settle()
        #expect(try content.backing()?.contents == object.bytes)
    }

    @Test func aWholeFileWithOneWrongBitIsNotGivenToTheKernel() async throws {
        let first = try DiskRig(directory.path)
        let bucket = LyingSource(object.bytes)
        _ = try await first.readAll(first.content(object, bucket))
        try Damage.flip(object.data(in: directory.path), at: 2_999_999)
        let second = try DiskRig(directory.path)
        let content = second.content(object, bucket)
        await second.settle()
        #expect(content.backing() == nil)
        #expect(second.metrics.diskMismatches == 1)
        #expect(try await second.readAll(content) == object.bytes)
        #expect(try content.backing()?.contents == object.bytes)
    }

    @Test func aProofThatIsOldIsMadeAnewWhenTheFileIsOpened() async throws {
        let rig = try DiskRig(directory.path, scrubAge: .zero)
        let content = rig.content(object, LyingSource(object.bytes))
        _ = try await rig.readAll(content)
        #expect(content.backing() != nil)
        await rig.settle()
        try Damage.flip(object.data(in: directory.path), at: 1_500_000)
        #expect(content.backing() != nil, "the kernel trusts the disk until the next proof")
        await rig.settle()
        #expect(content.backing() == nil)
        #expect(rig.metrics.diskMismatches == 1)
    }

    // MARK: Damage

    @Test(arguments: SeedSlice.first(10, ofSoak: 300))
    func damageOfAnyKindIsNeverShownAndAlwaysRepaired(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let bucket = LyingSource(object.bytes)
        let first = try DiskRig(directory.path)
        let content = first.content(object, bucket)
        if Bool.random(using: &random) {
            _ = try await first.readAll(content)
        } else {
            _ = try await first.cache.read(content, ByteRange(offset: 1 << 20, count: 1 << 20))
            await first.settle()
        }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            try Damage.random(object, in: directory.path, &random)
        }
        let second = try DiskRig(directory.path)
        let again = second.content(object, bucket)
        for _ in 0..<8 {
            let offset = Int.random(in: 0..<object.bytes.count, using: &random)
            let count = Int.random(in: 1...min(1 << 20, object.bytes.count - offset), using: &random)
            let range = ByteRange(offset: offset, count: count)
            #expect(try await second.cache.read(again, range) == Array(object.bytes[offset..<offset + count]))
            if let file = again.backing() { #expect(try file.contents == object.bytes) }
        }
        #expect(try await second.readAll(again) == object.bytes)
        #expect(try again.backing()?.contents == object.bytes, "seed \(seed): not repaired")
    }
}

/// What happens to files that lie around.
enum Damage {
    static func flip(_ path: String, at offset: Int) throws(Errno) {
        let file = try FileDescriptor(path: path, flags: O_RDWR)
        let byte = BufferLease(size: 1)
        _ = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: byte.bytes[..<1]), at: offset)
        try file.write([byte.bytes[0] ^ 1 << UInt8(offset % 8)], at: offset)
    }

    static func random(_ object: DiskObject, in directory: String, _ random: inout SeededRandom) throws(Errno) {
        let path = Bool.random(using: &random) ? object.data(in: directory) : object.table(in: directory)
        let file = try FileDescriptor(path: path, flags: O_RDWR)
        let size = try file.size()
        let place = Int.random(in: 0..<max(1, size), using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: try file.truncate(to: place)
        case 1: try file.truncate(to: size + 100_000)
        case 2: try file.write([UInt8](repeating: 0, count: min(4096, size - place)), at: place)
        case 3: try file.write(random.bytes(5000), at: place)
        case 4: try lie(object, in: directory)
        case 5: try file.truncate(to: 0)
        default: if size > place { try flip(path, at: place) }
        }
    }

    /// A table that says that everything is there.
    private static func lie(_ object: DiskObject, in directory: String) throws(Errno) {
        let file = try FileDescriptor(path: object.table(in: directory), flags: O_RDWR)
        let marks = (0..<object.identity.blockCount).flatMap { block in
            LittleEndian.bytes(DiskTable.mark(object.identity, block))
        }
        try file.write(DiskTable.header(object.identity), at: 0)
        try file.write(marks, at: DiskTable.marksOffset)
    }
}
