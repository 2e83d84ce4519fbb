import BlockCache
import LinuxPlatform
import ObjectStorage
import Testing

@testable import ReadAhead

/// A source whose requests end when the test says so. Its bytes are zero, and nobody compares them.
private final class HeldSource: RangedSource {
    struct Request: Sendable {
        let range: ByteRange
        let complete: @Sendable (Result<Void, ObjectStoreError>) -> Void
    }

    let size = 1 << 30
    let label = "held"
    private let state = Lock([Request]())

    var underWay: [Request] { state.withLock { $0 } }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        state.withLock { $0.append(Request(range: read.range, complete: completion)) }
        return ReadCancellation {}
    }

    /// Ends the oldest request that does not hold the byte; false when there is none.
    func endOne(except byte: Int) -> Bool {
        let request = state.withLock { requests -> Request? in
            guard let index = requests.firstIndex(where: { !($0.range.offset..<$0.range.end).contains(byte) }) else {
                return nil
            }
            return requests.remove(at: index)
        }
        request?.complete(.success(()))
        return request != nil
    }
}

struct LateRequestTests {
    private static let mebibyte = 1 << 20

    /// A reader that has gone through the first `count` blocks, which came at once.
    private func reader(_ source: HeldSource, _ cache: BlockCache, through count: Int) -> ContentReader {
        let content = CachedContent(source: source, checks: .whole(nil))
        let reader = ContentReader(content: content, cache: cache, streams: ActiveStreams())
        for block in 0..<count {
            let range = ByteRange(offset: block * Self.mebibyte, count: Self.mebibyte)
            let isDone = Lock(false)
            reader.read(cache.newReadID(), range) { _ in isDone.withLock { $0 = true } }
            while !isDone.withLock(\.self), source.endOne(except: -1) {}
            #expect(isDone.withLock { $0 })
        }
        return reader
    }

    @Test func oneLateRequestDoesNotEmptyTheLine() {
        let source = HeldSource()
        let cache = BlockCache(budget: 256 << 20)
        let reader = reader(source, cache, through: 200)
        while source.endOne(except: -1) {}
        // What comes next is the one that is late: its reader waits.
        let late = source.size / 2
        let isDone = Lock(false)
        for block in 0..<16 {
            // Enough to be a stream here, and then to wait.
            let range = ByteRange(offset: late + block * Self.mebibyte, count: Self.mebibyte)
            reader.read(cache.newReadID(), range) { _ in if block == 15 { isDone.withLock { $0 = true } } }
            if block < 15 { while source.endOne(except: late + 15 * Self.mebibyte) {} }
        }
        let stuck = late + 15 * Self.mebibyte
        #expect(!isDone.withLock { $0 })
        var most = 0
        var furthest = 0
        while source.endOne(except: stuck) {
            most = max(most, source.underWay.reduce(0) { $0 + $1.range.count })
            furthest = max(furthest, source.underWay.map(\.range.end).max() ?? 0)
        }
        // Two windows lie ahead of the reader, fetched while it waited, and no more at once than usual.
        let ahead = furthest - stuck
        #expect(ahead > 2 * cache.flightWindow - 16 << 20 && ahead <= 2 * cache.flightWindow + 1 << 20)
        #expect(most <= cache.flightWindow + 8 << 20)
        #expect(!isDone.withLock { $0 })
        for request in source.underWay { request.complete(.success(())) }
        #expect(isDone.withLock { $0 })
    }

    @Test func aReaderThatDoesNotWaitGetsItsWindowAndNoMore() {
        let source = HeldSource()
        let cache = BlockCache(budget: 256 << 20)
        let reader = reader(source, cache, through: 200)
        var furthest = 0
        while let last = source.underWay.map(\.range.end).max() {
            furthest = max(furthest, last)
            guard source.endOne(except: -1) else { break }
        }
        #expect(furthest <= (200 + 64 + 8) << 20)
        #expect(reader.content.size == source.size)
    }
}
