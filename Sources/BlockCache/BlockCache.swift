package import LinuxPlatform
package import ObjectStorage
import Synchronization
package import Telemetry

/// Verified blocks of objects in a bounded piece of memory; one fetch for each, whoever asks.
///
/// `BlockTable` decides; this class carries it out: starts reads of sources, verifies what arrives granule by granule on
/// the source's thread while it is in the processor's cache, and answers readers from there, without copying. Bytes that
/// are not the object's are fetched once more and then refused.
package final class BlockCache: Sendable {
    package typealias ReadID = BlockTable.ReadID
    /// Sees the bytes of a read, in order, in one or two pieces, valid during the call only. Called exactly once, on the
    /// caller's thread or a source's, with no lock held.
    package typealias Reader = @Sendable (Result<[UnsafeRawBufferPointer], ReadFailure>) -> Void

    private struct State {
        var table: BlockTable
        var flight: FlightWindow
        var readers: [ReadID: Reader] = [:]
        var fills: [ReadID: Fill] = [:]
    }

    /// Blocks that somebody wants to be there; see `fill`.
    private struct Fill {
        let content: CachedContent
        let completion: @Sendable (ReadFailure?) -> Void
    }

    /// Counts since the start.
    package struct Counts: Sendable {
        package var fetchedBytes = 0
        package var fetches = 0
        package var mismatches = 0
    }

    private let state: Lock<State>
    private let arena: SlotArena
    private let time: any TimeSource
    private let fetchTimeout: Duration
    private let metrics: CacheMetrics
    private let log: Log
    private let counters = Lock(Counts())
    private let lastRead = Atomic<UInt64>(0)
    private let window: Atomic<Int>

    /// The memory it may use, in bytes.
    package let budget: Int

    /// - Parameters:
    ///   - budget: in bytes, rounded down to whole blocks, at least 4 MiB.
    ///   - fetchTimeout: after this a fetch has failed, whatever the source still tries.
    package init(
        budget: Int,
        maximumFetch: Int = 8 << 20,
        fetchTimeout: Duration = .seconds(120),
        metrics: CacheMetrics = CacheMetrics(MetricRegistry()),
        time: any TimeSource = SystemTime(),
        log: Log = .disabled
    ) {
        let capacity = max(4, budget / BlockGeometry.blockSize)
        self.budget = capacity * BlockGeometry.blockSize
        let run = min(max(1, maximumFetch / BlockGeometry.blockSize), max(1, capacity / 4))
        let flight = FlightWindow(maximum: capacity / 2 * BlockGeometry.blockSize)
        let limits = ReadAheadLimits(bytes: flight.bytes)
        let table = BlockTable(capacity: capacity, maximumRun: run, readAheadLimits: limits)
        state = Lock(State(table: table, flight: flight))
        window = Atomic(flight.bytes)
        arena = SlotArena(slots: capacity)
        self.metrics = metrics
        self.time = time
        self.fetchTimeout = fetchTimeout
        self.log = log
    }

    package var counts: Counts { counters.withLock { $0 } }
    /// Of the budget, by blocks that are there or on their way.
    package var usedBytes: Int { state.withLock { $0.table.usedSlots } * BlockGeometry.blockSize }
    /// Verified bytes in memory, of the contents that have any.
    package var residentBytes: [CachedContent.ID: Int] { state.withLock { $0.table.residentBytes } }
    /// Whether nobody reads and nothing is being fetched.
    package var isIdle: Bool { state.withLock { $0.table.isIdle } }

    /// A name for a read, to cancel it by.
    package func newReadID() -> ReadID { ReadID(lastRead.add(1, ordering: .relaxed).newValue) }

    /// Shows the bytes to `reader` now, if all of them are in memory.
    package func hit(
        _ content: CachedContent,
        _ range: ByteRange,
        _ reader: ([UnsafeRawBufferPointer]) -> Void
    ) -> Bool {
        let id = newReadID()
        guard !content.whole.isWrong, let segments = state.withLock({ $0.table.hit(id, content, range) }) else {
            return false
        }
        reader(memory(segments))
        metrics.memoryHit(bytes: range.count)
        perform(release(id))
        return true
    }

    /// Shows the bytes to `reader` as soon as they are there and proven.
    ///
    /// - Parameter range: inside of the content, and at most 1 MiB long.
    package func read(_ id: ReadID, _ content: CachedContent, _ range: ByteRange, _ reader: @escaping Reader) {
        if range.count == 0 { return reader(.success([])) }
        if content.whole.isWrong { return reader(.failure(.corrupt)) }
        metrics.memoryMiss()
        perform(
            state.withLock { state in
                state.readers[id] = reader
                return state.table.read(id, content, range)
            }
        )
    }

    /// Ends a read that waits: its reader is told `cancelled`. Nothing happens when it is unknown or being answered.
    package func cancel(_ id: ReadID) {
        let (reader, fill, actions) = state.withLock { state -> (Reader?, Fill?, [BlockTable.Action]) in
            let (wasWaiting, actions) = state.table.cancel(id)
            guard wasWaiting else { return (nil, nil, actions) }
            return (state.readers.removeValue(forKey: id), state.fills.removeValue(forKey: id), actions)
        }
        reader?(.failure(.cancelled))
        fill?.completion(.cancelled)
        perform(actions)
    }

    /// Fetches blocks that nobody asked for yet, as far as there is room.
    ///
    /// - Parameter awaited: a block that a reader is about to ask for.
    /// - Returns: the first block that was not taken care of.
    package func readAhead(
        _ content: CachedContent,
        _ blocks: Range<Int>,
        for reason: ReadAheadReason = .stream,
        awaited: Int? = nil
    ) -> Int {
        if content.whole.isWrong { return blocks.lowerBound }
        var actions: [BlockTable.Action] = []
        let end = state.withLock { $0.table.readAhead(content, blocks, for: reason, awaited: awaited, &actions) }
        perform(actions)
        return end
    }

    /// Fetches the granules of a range that nobody asked for yet, if there is room for them.
    package func readAhead(_ content: CachedContent, granulesOf range: ByteRange, for reason: ReadAheadReason) {
        if content.whole.isWrong || range.count == 0 { return }
        var actions: [BlockTable.Action] = []
        _ = state.withLock { $0.table.readAhead(content, granulesOf: range, for: reason, &actions) }
        perform(actions)
    }

    /// Whether a block could be fetched now that nobody asked for.
    package func hasRoomAhead(for reason: ReadAheadReason) -> Bool {
        state.withLock { $0.table.hasRoomAhead(for: reason) }
    }

    /// Bytes of read-ahead that should be on their way at once; see `FlightWindow`.
    package var flightWindow: Int { window.load(ordering: .relaxed) }

    /// The bytes of an answered read are no longer used.
    private func release(_ id: ReadID) -> [BlockTable.Action] {
        let (actions, tally) = state.withLock { ($0.table.release(id), $0.table.takeTally()) }
        metrics.readAhead(tally)
        return actions
    }

    // MARK: Filling

    /// Blocks that one `fill` may ask for.
    var maximumFill: Int { state.withLock { $0.table.maximumFillRun } }

    /// Brings blocks, verified, to the disk where the content has one, and into memory where not: with what readers leave
    /// of memory and requests.
    ///
    /// - Parameters:
    ///   - id: from `newReadID`; `cancel` ends it.
    ///   - blocks: at most `maximumFill`.
    ///   - completion: called exactly once, on the caller's thread or another, with no lock held: what kept the bytes from
    ///     coming. That they came says nothing of the disk, which may have had no room.
    func fill(
        _ id: ReadID,
        _ content: CachedContent,
        _ blocks: Range<Int>,
        _ completion: @escaping @Sendable (ReadFailure?) -> Void
    ) {
        if content.whole.isWrong { return completion(.corrupt) }
        perform(
            state.withLock { state in
                state.fills[id] = Fill(content: content, completion: completion)
                return state.table.fill(id, content, blocks)
            }
        )
    }

    /// The blocks of a fill are in memory: they stay until the disk has them.
    private func finish(_ fill: Fill, _ id: ReadID, _ segments: [BlockTable.Segment], from first: Int) {
        let done: @Sendable () -> Void = { [self] in
            perform(release(id))
            fill.completion(nil)
        }
        guard let disk = fill.content.disk else { return done() }
        var runs: [(blocks: Range<Int>, bytes: UnsafeRawBufferPointer)] = []
        var index = 0
        while index < segments.count {
            var end = index + 1
            while end < segments.count, segments[end].slot == segments[end - 1].slot + 1 { end += 1 }
            let count = segments[index..<end].reduce(0) { $0 + $1.count }
            let bytes = arena.bytes(slot: segments[index].slot, offset: 0, count: count)
            runs.append((first + index..<first + end, UnsafeRawBufferPointer(bytes)))
            index = end
        }
        let left = Lock(runs.count)
        for run in runs {
            disk.store(run.blocks, run.bytes) {
                let isLast = left.withLock { left in
                    left -= 1
                    return left == 0
                }
                if isLast { done() }
            }
        }
    }

    // MARK: What the table decided

    private func perform(_ actions: [BlockTable.Action]) {
        for action in actions {
            switch action {
            case .fetch(let fetch): begin(fetch, from: 0, attempt: 1)
            case .answer(let id, let segments):
                let (reader, fill, first) = state.withLock { state in
                    let fill = state.fills.isEmpty ? nil : state.fills.removeValue(forKey: id)
                    return (
                        state.readers.removeValue(forKey: id), fill, fill == nil ? 0 : state.table.firstBlock(of: id)
                    )
                }
                if let fill {
                    finish(fill, id, segments, from: first)
                    continue
                }
                reader?(.success(memory(segments)))
                perform(release(id))
            case .fail(let id, let failure):
                let (reader, fill) = state.withLock {
                    ($0.readers.removeValue(forKey: id), $0.fills.removeValue(forKey: id))
                }
                reader?(.failure(failure))
                fill?.completion(failure)
            case .store(let store): keep(store)
            }
        }
    }

    /// Has blocks written to the disk; their memory stays meanwhile.
    private func keep(_ store: BlockTable.Store) {
        let start = store.blocks.lowerBound * BlockGeometry.blockSize
        let count = min(store.blocks.upperBound * BlockGeometry.blockSize, store.content.size) - start
        let bytes = arena.bytes(slot: store.slots.lowerBound, offset: 0, count: count)
        store.content.disk?.store(store.blocks, UnsafeRawBufferPointer(bytes)) { [self] in
            perform(state.withLock { $0.table.stored(store) })
        }
    }

    private func memory(_ segments: [BlockTable.Segment]) -> [UnsafeRawBufferPointer] {
        segments.map { UnsafeRawBufferPointer(arena.bytes(slot: $0.slot, offset: $0.offset, count: $0.count)) }
    }

    /// Reads what is left of a fetch, `start` bytes from its beginning.
    private func begin(_ fetch: BlockTable.Fetch, from start: Int, attempt: Int) {
        let range = ByteRange(offset: fetch.range.offset + start, count: fetch.range.count - start)
        let memory = arena.bytes(
            slot: fetch.slots.lowerBound,
            offset: fetch.slotOffset + start,
            count: range.count
        )
        if range.count >= BlockGeometry.blockSize { arena.willFill(fetch.slots) }
        let verification = FetchVerification(
            content: fetch.content,
            range: range,
            bytes: UnsafeRawBufferPointer(memory)
        )
        counters.withLock { $0.fetches += 1 }
        let started = time.now()
        state.withLock { $0.flight.began(underWay: $0.table.readAheadUnderWay.bytes, now: started) }
        let read = RangeRead(
            range,
            into: BufferLease(borrowing: memory, from: arena),
            deadline: started.advanced(by: fetchTimeout),
            tap: { [self] offset, bytes in
                if offset == 0 {
                    let wait = started.duration(to: time.now())
                    state.withLock { $0.flight.firstByte(after: wait) }
                }
                let before = verification.proven
                let proven = verification.delivered(through: offset + bytes.count)
                guard proven > before else { return }
                perform(state.withLock { $0.table.arrived(fetch.id, through: start + proven) })
            },
            observer: { [self] event in
                if event == .paused(isThrottled: true) { state.withLock { $0.table.throttled() } }
            }
        )
        fetch.content.source.read(read) { [self] result in
            finished(fetch, verification, start: start, attempt: attempt, result)
        }
    }

    private func finished(
        _ fetch: BlockTable.Fetch,
        _ verification: FetchVerification,
        start: Int,
        attempt: Int,
        _ result: Result<Void, ObjectStoreError>
    ) {
        switch result {
        case .failure(let error):
            let offset = fetch.range.offset + start + verification.proven
            log.error(
                "cannot read an object",
                ["object": LogValue(fetch.content.label), "offset": .integer(offset), "error": LogValue(error)]
            )
            end(fetch, ReadFailure(error))
        case .success:
            counters.withLock { $0.fetchedBytes += fetch.range.count - start }
            noteEnd(fetch, bytes: fetch.range.count - start)
            if fetch.content.disk == nil { metrics.networkRead(bytes: fetch.range.count - start) }
            guard let offset = verification.finish() else { return end(fetch, nil) }
            mismatch(fetch, at: offset, provenThrough: start + verification.proven, attempt: attempt)
        }
    }

    /// The window follows what was achieved.
    private func noteEnd(_ fetch: BlockTable.Fetch, bytes: Int) {
        let now = time.now()
        let window = state.withLock { state in
            let ahead = state.table.readAheadUnderWay.bytes - (fetch.isReadAhead ? fetch.range.count : 0)
            state.flight.ended(bytes: bytes, underWay: ahead, now: now)
            state.table.readAheadLimits.bytes = state.flight.bytes
            return state.flight.bytes
        }
        self.window.store(window, ordering: .relaxed)
        metrics.readAhead(window: window)
    }

    private func mismatch(_ fetch: BlockTable.Fetch, at offset: Int, provenThrough proven: Int, attempt: Int) {
        counters.withLock { $0.mismatches += 1 }
        let content = fetch.content
        if content.whole.isWrong {
            log.error(
                "wrong bytes: the object as a whole does not have its CRC32C, it is refused from now on",
                ["object": LogValue(content.label)]
            )
            state.withLock { $0.table.purge(content) }
            return end(fetch, .corrupt)
        }
        let place: Log.Fields = ["object": LogValue(content.label), "offset": .integer(offset)]
        if attempt > 1 {
            log.error("wrong bytes again: they do not match their CRC32C, reading them fails", place)
            return end(fetch, .corrupt)
        }
        log.warn("wrong bytes: they do not match their CRC32C, fetching them once more", place)
        perform(state.withLock { $0.table.arrived(fetch.id, through: proven) })
        begin(fetch, from: proven, attempt: 2)
    }

    private func end(_ fetch: BlockTable.Fetch, _ failure: ReadFailure?) {
        let actions = state.withLock { $0.table.finished(fetch.id, failure: failure) }
        if let disk = fetch.content.disk { abandon(fetch, actions, disk) }
        perform(actions)
        guard fetch.isReadAhead, failure == nil, let follower = fetch.content.follower.withLock(\.self),
            state.withLock({ $0.table.isAwaited(fetch.content.id) })
        else { return }
        follower()
    }

    /// Nobody need wait for the blocks of a fetch that are not handed to the disk.
    private func abandon(_ fetch: BlockTable.Fetch, _ actions: [BlockTable.Action], _ disk: DiskContent) {
        var from = BlockGeometry.blocks(of: fetch.range).lowerBound
        for case .store(let store) in actions {
            disk.abandon(from..<store.blocks.lowerBound)
            from = store.blocks.upperBound
        }
        disk.abandon(from..<BlockGeometry.blocks(of: fetch.range).upperBound)
    }
}

extension ReadFailure {
    /// What a store's error is for a reader.
    package init(_ error: ObjectStoreError) {
        switch error.code {
        case .notFound, .preconditionFailed: self = .stale
        case .integrity: self = .corrupt
        case .deadlineExceeded: self = .timedOut
        case .cancelled: self = .cancelled
        default: self = .unavailable
        }
    }
}
