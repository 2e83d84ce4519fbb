import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

struct BlockCacheTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 7)
        return random.bytes(3_000_000)
    }()

    private func table() throws -> ContentChecks { .table(try CRCTable.of(bytes)) }

    @Test func readsShowTheObjectsBytes() throws {
        let cache = BlockCache(budget: 4 << 20)
        let content = CachedContent(source: LyingSource(bytes), checks: try table())
        var random = SeededRandom(seed: 1)
        for _ in 0..<200 {
            let offset = Int.random(in: 0..<bytes.count, using: &random)
            let count = Int.random(in: 1...min(1 << 20, bytes.count - offset), using: &random)
            let range = ByteRange(offset: offset, count: count)
            #expect(try cache.bytes(content, range) == Array(bytes[offset..<offset + count]))
        }
        #expect(cache.isIdle)
    }

    @Test func wrongBytesAreFetchedOnceMore() throws {
        let cache = BlockCache(budget: 4 << 20)
        let source = LyingSource(bytes)
        source.flip(at: 1_500_000, times: 1)
        let content = CachedContent(source: source, checks: try table())
        let range = ByteRange(offset: 1_400_000, count: 200_000)
        #expect(try cache.bytes(content, range) == Array(bytes[1_400_000..<1_600_000]))
        #expect(cache.counts.mismatches == 1)
    }

    @Test func wrongBytesThatStayAreNeverShown() throws {
        let cache = BlockCache(budget: 4 << 20)
        let source = LyingSource(bytes)
        source.flip(at: 1_500_000, times: .max)
        let content = CachedContent(source: source, checks: try table())
        #expect(throws: ReadFailure.corrupt) {
            try cache.bytes(content, ByteRange(offset: 1_400_000, count: 200_000))
        }
        // The granules around the bad one are good.
        #expect(try cache.bytes(content, ByteRange(offset: 0, count: 1000)) == Array(bytes[..<1000]))
        #expect(cache.counts.mismatches == 2)
    }

    @Test func aSmallObjectWithoutATableIsProvenBeforeItIsShown() throws {
        let small = Array(bytes[..<300_000])
        let source = LyingSource(small)
        source.flip(at: 299_999, times: .max)
        let cache = BlockCache(budget: 4 << 20)
        let content = CachedContent(source: source, checks: .whole(CRC32C.of(small)))
        #expect(throws: ReadFailure.corrupt) { try cache.bytes(content, ByteRange(offset: 0, count: 10)) }
    }

    @Test func aLargeObjectWithoutATableIsRefusedOnceItIsKnownToBeWrong() throws {
        let source = LyingSource(bytes)
        source.flip(at: 10, times: .max)
        let cache = BlockCache(budget: 8 << 20)
        let content = CachedContent(source: source, checks: .whole(CRC32C.of(bytes)))
        for block in 0..<2 { _ = try cache.bytes(content, ByteRange(offset: block << 20, count: 1 << 20)) }
        let last = ByteRange(offset: 2 << 20, count: bytes.count - 2 << 20)
        #expect(throws: ReadFailure.corrupt) { try cache.bytes(content, last) }
        #expect(throws: ReadFailure.corrupt) { try cache.bytes(content, ByteRange(offset: 0, count: 1)) }
    }

    @Test func aLargeObjectWithoutATableThatIsRightIsServed() throws {
        let cache = BlockCache(budget: 8 << 20)
        let content = CachedContent(source: LyingSource(bytes), checks: .whole(CRC32C.of(bytes)))
        for block in [2, 0, 1] {
            let range = ByteRange(offset: block << 20, count: min(1 << 20, bytes.count - block << 20))
            #expect(try cache.bytes(content, range) == Array(bytes[range.offset..<range.end]))
        }
    }

    @Test(arguments: [
        (ObjectStoreError.Code.notFound, ReadFailure.stale), (.unavailable, .unavailable),
        (.deadlineExceeded, .timedOut), (.integrity, .corrupt), (.forbidden, .unavailable),
    ])
    func aFailureOfTheSourceHasAName(code: ObjectStoreError.Code, failure: ReadFailure) throws {
        let cache = BlockCache(budget: 4 << 20)
        let source = LyingSource(bytes)
        source.fail(ObjectStoreError(code, "on purpose"))
        let content = CachedContent(source: source, checks: .whole(nil))
        #expect(throws: failure) { try cache.bytes(content, ByteRange(offset: 0, count: 10)) }
        #expect(cache.isIdle)
    }

    @Test func aCancelledReadIsToldSo() throws {
        let cache = BlockCache(budget: 4 << 20)
        let content = CachedContent.silent(size: 100)
        let id = cache.newReadID()
        let answer = Lock<ReadFailure?>(nil)
        cache.read(id, content, ByteRange(offset: 0, count: 10)) { result in
            if case .failure(let failure) = result { answer.withLock { $0 = failure } }
        }
        cache.cancel(id)
        cache.cancel(id)
        #expect(answer.withLock { $0 } == .cancelled)
    }
}

extension BlockCache {
    /// Reads from a source that answers before it returns.
    func bytes(_ content: CachedContent, _ range: ByteRange) throws(ReadFailure) -> [UInt8] {
        let answer = Lock<Result<[UInt8], ReadFailure>?>(nil)
        read(newReadID(), content, range) { result in
            answer.withLock { $0 = result.map { $0.flatMap(Array.init) } }
        }
        guard let result = answer.withLock({ $0 }) else { throw .timedOut }
        return try result.get()
    }
}

extension CRCTable {
    static func of(_ bytes: [UInt8]) throws -> CRCTable {
        let granules = stride(from: 0, to: bytes.count, by: granuleSize).map { offset in
            CRC32C.of(Array(bytes[offset..<min(offset + granuleSize, bytes.count)]))
        }
        return try CRCTable(granules: granules, size: bytes.count)
    }
}
