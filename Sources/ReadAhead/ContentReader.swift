package import BlockCache
import LinuxPlatform
package import ObjectStorage

/// Reads one content through the cache, fetching ahead: one for each inode, shared by all of its handles.
package final class ContentReader: Sendable {
    package let content: CachedContent
    private let cache: BlockCache
    private let streams: ActiveStreams
    private let plan: Lock<ReadAheadPlan>

    /// - Parameter streams: shared by all readers of the cache, so that they divide its memory.
    package init(content: CachedContent, cache: BlockCache, streams: ActiveStreams) {
        self.content = content
        self.cache = cache
        self.streams = streams
        plan = Lock(ReadAheadPlan(size: content.size))
    }

    /// Shows the bytes to `reader` before it returns, if they are in memory.
    ///
    /// - Parameter range: inside of the content, at most 1 MiB long.
    package func hit(_ range: ByteRange, _ reader: ([UnsafeRawBufferPointer]) -> Void) -> Bool {
        guard cache.hit(content, range, reader) else { return false }
        fetchAhead(range)
        return true
    }

    /// Shows the bytes to `reader` when they are there; see `BlockCache.read`.
    package func read(_ id: BlockCache.ReadID, _ range: ByteRange, _ reader: @escaping BlockCache.Reader) {
        // First, so that the read's own blocks come with the same request as those behind them.
        fetchAhead(range)
        cache.read(id, content, range, reader)
    }

    private func fetchAhead(_ range: ByteRange) {
        let limit = cache.budget / 2 / streams.note(content.id)
        guard let wish = plan.withLock({ $0.note(range, windowLimit: limit) }) else { return }
        let end = cache.readAhead(content, wish.blocks)
        plan.withLock { $0.taken(wish, through: end) }
    }
}
