package import BlockCache
import LinuxPlatform
package import ModelFormats
package import ObjectStorage

/// Reads one content through the cache, fetching ahead: one for each inode, shared by all of its handles.
///
/// Of files in the formats of models the header is read, once, in the background, and tells the plans where pieces end.
package final class ContentReader: Sendable {
    /// What may be told to whoever opened it.
    package typealias Notice = @Sendable () -> Void

    private struct State {
        var plan: ReadAheadPlan
        var load: LoadPlan?
        var pass: Pass?
        var isHeaderAsked = false
        var nearEnd: Notice?

        /// What of a wish was not read yet.
        func wished(_ wish: ReadAheadPlan.Wish?) -> (wish: ReadAheadPlan.Wish, blocks: Range<Int>)? {
            wish.map { ($0, pass?.unread($0.blocks) ?? $0.blocks) }
        }
    }

    /// A file is near its end when so much of it has not been asked for, and at most a quarter.
    private static let lastStretch = 64 << 20

    package let content: CachedContent
    private let cache: BlockCache
    private let streams: ActiveStreams
    private let format: ModelFormat?
    private let state: Lock<State>

    /// - Parameters:
    ///   - streams: shared by all readers of the cache, so that they divide its memory.
    ///   - format: what the file is, by its name; nil: nothing that is known.
    ///   - nearEnd: called once, on the reader's thread, when most of a file in a known format was asked for.
    package init(
        content: CachedContent,
        cache: BlockCache,
        streams: ActiveStreams,
        format: ModelFormat? = nil,
        nearEnd: Notice? = nil
    ) {
        self.content = content
        self.cache = cache
        self.streams = streams
        self.format = format
        let isLoadable = format != nil && content.size <= LoadPlan.largestFile
        state = Lock(
            State(
                plan: ReadAheadPlan(size: content.size),
                load: isLoadable ? LoadPlan(size: content.size) : nil,
                pass: isLoadable ? Pass(size: content.size) : nil,
                nearEnd: nearEnd
            )
        )
        content.whenAheadOfReaders { [weak self] in self?.goOn() }
    }

    /// Shows the bytes to `reader` before it returns, if they are in memory.
    ///
    /// - Parameter range: inside of the content, at most 1 MiB long.
    package func hit(_ range: ByteRange, _ reader: ([UnsafeRawBufferPointer]) -> Void) -> Bool {
        guard cache.hit(content, range, reader) else { return false }
        fetchAhead(range)
        fetchRest(range)
        return true
    }

    /// Shows the bytes to `reader` when they are there; see `BlockCache.read`.
    package func read(_ id: BlockCache.ReadID, _ range: ByteRange, _ reader: @escaping BlockCache.Reader) {
        // First, so that the read's own blocks come with the same request as those behind them.
        fetchAhead(range, isAwaited: true)
        cache.read(id, content, range, reader)
        fetchRest(range)
    }

    private func fetchAhead(_ range: ByteRange, isAwaited: Bool = false) {
        // It comes whole with the first read, and takes nothing from those who stream.
        if content.isProvenWhole { return }
        let limit = min(cache.budget / 2 / streams.note(content.id), cache.flightWindow)
        let wish = state.withLock { state in
            defer { state.pass?.note(range) }
            return state.wished(state.plan.note(range, windowLimit: limit))
        }
        fetch(wish, awaited: isAwaited ? range.offset / BlockGeometry.blockSize : nil)
    }

    private func fetch(_ wished: (wish: ReadAheadPlan.Wish, blocks: Range<Int>)?, awaited: Int? = nil) {
        guard let (wish, blocks) = wished else { return }
        let end = blocks.isEmpty ? blocks.upperBound : cache.readAhead(content, blocks, awaited: awaited)
        state.withLock { $0.plan.taken(wish, through: end) }
    }

    /// A reader waits while what lies behind comes in: the line must not run empty for one request that is late.
    private func goOn() {
        let limit = min(cache.budget / 2 / streams.count, 2 * cache.flightWindow)
        fetch(state.withLock { state in state.wished(state.plan.goOn(limit: limit)) })
    }

    /// What only files in known formats get: behind the reads and their streams.
    private func fetchRest(_ range: ByteRange) {
        guard let format, !content.isProvenWhole else { return }
        let limit = cache.budget / 4
        let (wish, mustLearn, notice) = state.withLock { state -> (Range<Int>?, Bool, Notice?) in
            let mustLearn = !state.isHeaderAsked && (range.offset == 0 || format == .torchArchive)
            if mustLearn { state.isHeaderAsked = true }
            state.load?.note(range)
            let wish = state.load?.wish(jumps: state.plan.jumps, limit: limit)
            let stretch = min(Self.lastStretch, content.size / 4)
            guard let asked = state.load?.askedBytes, asked + stretch >= content.size else {
                return (wish, mustLearn, nil)
            }
            defer { state.nearEnd = nil }
            return (wish, mustLearn, state.nearEnd)
        }
        if let wish {
            let end = cache.readAhead(content, wish, for: .guess)
            state.withLock { $0.load?.taken(wish.lowerBound..<max(wish.lowerBound, end)) }
        }
        if mustLearn { learn(format) }
        notice?()
    }

    // MARK: The header

    private func learn(_ format: ModelFormat) {
        Task { [weak self] in
            guard let plan = await self?.header(format) else { return }
            self?.follow(plan)
        }
    }

    private func header(_ format: ModelFormat) async -> ReadPlan? {
        guard streams.beginHeader() else { return nil }
        defer { streams.endHeader() }
        var reading = HeaderReading(format, size: content.size)
        while case .read(let range) = reading.step {
            guard let bytes = await cache.bytes(of: content, range) else { return nil }
            reading.feed(bytes)
        }
        guard case .done(let plan) = reading.step else { return nil }
        return plan
    }

    private func follow(_ plan: ReadPlan) {
        for range in plan.pinned where range.count <= BlockGeometry.blockSize {
            cache.readAhead(content, granulesOf: range, for: .stream)
        }
        state.withLock { state in
            state.plan.learn(pieceEnds: plan.pieceEnds, dataStart: plan.pinned.first?.end ?? 0)
            state.load?.learn(pieceEnds: plan.pieceEnds)
        }
    }
}

extension BlockCache {
    /// A copy of some bytes of a content, for what is read in the background; nil when they cannot be had.
    package func bytes(of content: CachedContent, _ range: ByteRange) async -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        while bytes.count < range.count {
            let offset = range.offset + bytes.count
            // Up to the block's end: one fetch, and never more than a table of the smallest budget can hold.
            let end = min((offset / BlockGeometry.blockSize + 1) * BlockGeometry.blockSize, range.end)
            let piece = ByteRange(offset: offset, count: end - offset)
            let result: Result<[UInt8], ReadFailure> = await withCheckedContinuation { continuation in
                read(newReadID(), content, piece) { result in
                    continuation.resume(returning: result.map { $0.flatMap(Array.init) })
                }
            }
            guard case .success(let read) = result else { return nil }
            bytes += read
        }
        return bytes
    }
}
