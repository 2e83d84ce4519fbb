import LinuxPlatform
import ObjectStorage
import Telemetry

/// One content on the disk: which of its blocks are there, who fetches the others, and whether the whole is proven.
///
/// One for each content of a process, however many inodes lead to it. No lock is held over I/O.
final class DiskContent: BackingSource {
    /// Where the next bytes come from.
    enum Step: Hashable {
        case disk(ByteRange)
        case network(ByteRange)
        /// Another process fetches the next block: ask again soon.
        case wait
    }

    private enum Phase {
        case closed
        case opening([@Sendable () -> Void])
        case ready(DiskFiles)
    }

    private struct State {
        var phase = Phase.closed
        var present: BlockSet
        /// Bytes that were read from the disk: a second pass shows in them.
        var served = 0
        var use = DiskTable.Use(last: 0, isProtected: false)
        var proof = ProofState()
        /// Called when the proof that runs has ended.
        var proofWaiters: [@Sendable () -> Void] = []
        /// Since when it is pinned, in seconds since 1970.
        var pinnedSince: Int64?
        /// The files could not be opened: until then nobody tries again.
        var closedUntil: MonotonicInstant?
        /// Until then nobody waits for a process that did not deliver.
        var impatientUntil: MonotonicInstant?
        weak var backing: BackingFile?

        var files: DiskFiles? {
            if case .ready(let files) = phase { return files }
            return nil
        }
    }

    let identity: DiskIdentity
    /// For people: the object and its generation.
    let label: String
    private let disk: DiskCache
    private let checks: ContentChecks
    private let state: Lock<State>

    init(_ identity: DiskIdentity, label: String, checks: ContentChecks, disk: DiskCache) {
        self.identity = identity
        self.label = label
        self.checks = checks
        self.disk = disk
        state = Lock(State(present: BlockSet(capacity: identity.blockCount)))
    }

    var claimPatience: Duration { disk.options.claimPatience }
    var files: DiskFiles? { state.withLock { $0.files } }
    /// Blocks that are there.
    var presentBlocks: Int { state.withLock { $0.present.count } }
    var isProving: Bool { state.withLock { $0.proof.isRunning } }
    var isProven: Bool { state.withLock { $0.proof.since != nil } }

    // MARK: Opening

    /// Calls `body` when the files are open, or are not to be had for now: at once, or on a thread of the disk.
    func whenOpen(_ body: @escaping @Sendable () -> Void) {
        guard disk.mayRead else { return body() }
        let now = disk.time.now()
        let (isReady, isFirst) = state.withLock { state -> (Bool, Bool) in
            switch state.phase {
            case .ready: return (true, false)
            case .opening(let waiting):
                state.phase = .opening(waiting + [body])
                return (false, false)
            case .closed:
                if let until = state.closedUntil, now < until { return (true, false) }
                state.phase = .opening([body])
                return (false, true)
            }
        }
        if isReady { body() }
        guard isFirst else { return }
        let alarm = Task { [self] in
            guard (try? await disk.time.sleep(for: disk.options.readPatience)) != nil else { return }
            leaveUnopened()
        }
        disk.readers.submit { [self] in
            open()
            alarm.cancel()
        }
    }

    /// The disk hangs: whoever waits goes on without it. What it says later is taken then.
    private func leaveUnopened() {
        let until = disk.time.now().advanced(by: DiskHealth.firstPause)
        let waiting = state.withLock { state -> [@Sendable () -> Void] in
            guard case .opening(let waiting) = state.phase else { return [] }
            state.phase = .closed
            state.closedUntil = until
            return waiting
        }
        if waiting.isEmpty { return }
        disk.failed(.timedOut, "opening a file of the cache")
        waiting.forEach { $0() }
    }

    private func open() {
        var opened: (files: DiskFiles, marked: [Int], use: DiskTable.Use?, pin: Int64?, proven: MonotonicInstant?)?
        do throws(Errno) {
            let files = try DiskFiles(identity, in: disk.directory)
            let marked = try files.marked(0..<identity.blockCount)
            opened = (files, marked, files.use(), files.pin(), disk.provenSince(identity.name, try files.status()))
        } catch {
            disk.failed(error, "opening a file of the cache")
        }
        let now = disk.time.now()
        let waiting = state.withLock { state -> [@Sendable () -> Void] in
            guard case .opening(let waiting) = state.phase else { return [] }
            state.phase = .closed
            state.closedUntil = opened == nil ? now.advanced(by: DiskHealth.firstPause) : nil
            guard let opened else { return waiting }
            state.phase = .ready(opened.files)
            state.present = BlockSet(capacity: identity.blockCount)
            for block in opened.marked { state.present.insert(block) }
            state.use = DiskTable.Use(last: state.use.last, isProtected: opened.use?.isProtected ?? false)
            state.pinnedSince = opened.pin
            state.proof.reset()
            if state.present.isFull {
                if let proven = opened.proven { state.proof.adopt(proven) } else { _ = state.proof.begin() }
            }
            return waiting
        }
        noteUse()
        if isProving { disk.provers.submit { [weak self] in self?.prove() } }
        waiting.forEach { $0() }
    }

    /// The files were deleted, by us or by others: what is open ends by itself, what comes next begins anew.
    func dropFiles() {
        let waiting = state.withLock { state -> [@Sendable () -> Void] in
            guard case .ready = state.phase else { return [] }
            state.phase = .closed
            state.present = BlockSet(capacity: identity.blockCount)
            state.proof.reset()
            state.pinnedSince = nil
            defer { state.proofWaiters = [] }
            return state.proofWaiters
        }
        waiting.forEach { $0() }
    }

    /// Bytes of the disk that deleted files take which we still have open.
    var deletedBytes: Int {
        let (files, backing) = state.withLock { ($0.files, $0.backing) }
        if let status = try? files?.status() { return status.links == 0 ? status.allocated : 0 }
        return backing?.deletedBytes ?? 0
    }

    // MARK: Reading

    /// Decides where the bytes from the beginning of `range` on come from; claims blocks that the network will bring.
    func step(_ range: ByteRange, mayWait: Bool) -> Step {
        guard disk.mayRead, let files else { return .network(range) }
        let (isIn, blocks) = state.withLock { $0.present.firstRun(of: BlockGeometry.blocks(of: range)) }
        let run = clip(range, to: blocks)
        if isIn { return .disk(run) }
        let isWhole = run.offset % BlockGeometry.blockSize == 0
        guard isWhole, run.count >= BlockGeometry.blockSize || run.end == identity.size, disk.mayKeep else {
            return .network(run)
        }
        do throws(Errno) {
            return try claim(run, blocks, files, mayWait: mayWait)
        } catch {
            disk.failed(error, "claiming blocks of the cache")
            return .network(run)
        }
    }

    private func claim(
        _ run: ByteRange,
        _ blocks: Range<Int>,
        _ files: DiskFiles,
        mayWait: Bool
    ) throws(Errno) -> Step {
        var end = blocks.lowerBound
        while end < blocks.upperBound, try files.claim(end) { end += 1 }
        if end == blocks.lowerBound { return mayWait && !isImpatient ? .wait : .network(run) }
        let claimed = blocks.lowerBound..<end
        // Whoever had the claim before us may have brought them.
        let found = try files.marked(claimed)
        guard let first = found.first else { return .network(clip(run, to: claimed)) }
        state.withLock { state in for block in found { state.present.insert(block) } }
        if first > claimed.lowerBound {
            files.release(first..<end)
            return .network(clip(run, to: claimed.lowerBound..<first))
        }
        files.release(claimed)
        let contiguous = found.enumerated().prefix { $0.element == claimed.lowerBound + $0.offset }.count
        proveIfComplete()
        return .disk(clip(run, to: claimed.lowerBound..<claimed.lowerBound + contiguous))
    }

    private var isImpatient: Bool {
        let now = disk.time.now()
        return state.withLock { state in state.impatientUntil.map { now < $0 } ?? false }
    }

    /// Another process had its time and did not deliver: for a while nobody waits.
    func losePatience() {
        let until = disk.time.now().advanced(by: .seconds(30))
        state.withLock { $0.impatientUntil = until }
    }

    /// Reads bytes of one block from the disk and proves them. On a thread of the disk.
    ///
    /// - Returns: whether they are the content's. If not, the block is not there any more.
    func read(_ range: ByteRange, into memory: UnsafeMutableRawBufferPointer) -> Bool {
        guard let files else { return false }
        let block = range.offset / BlockGeometry.blockSize
        do throws(Errno) {
            let count = try files.read(memory, at: range.offset)
            guard count == range.count, checks.prove(range, UnsafeRawBufferPointer(memory), size: identity.size) else {
                lose(block, files)
                return false
            }
        } catch {
            disk.failed(error, "reading a file of the cache")
            lose(block, files)
            return false
        }
        disk.metrics.diskHit(bytes: range.count)
        noteServed(range.count)
        return true
    }

    private func lose(_ block: Int, _ files: DiskFiles) {
        state.withLock { state in
            state.present.remove(block)
            state.proof.withdraw()
        }
        disk.forgetProof(identity.name)
        try? files.unmark(block)
        disk.metrics.diskMismatch()
        disk.log.warn(
            "wrong bytes in the disk cache: the block is fetched again",
            ["object": LogValue(label), "offset": .integer(block * BlockGeometry.blockSize)]
        )
    }

    private func clip(_ range: ByteRange, to blocks: Range<Int>) -> ByteRange {
        let start = max(range.offset, blocks.lowerBound * BlockGeometry.blockSize)
        return ByteRange(offset: start, count: min(range.end, blocks.upperBound * BlockGeometry.blockSize) - start)
    }

    // MARK: Filling

    /// Blocks came that nobody will write: those that wait for our claim need not.
    func abandon(_ blocks: Range<Int>) { if !blocks.isEmpty { files?.release(blocks) } }

    /// Writes verified blocks to the disk, as far as they are missing, on a thread of the disk.
    ///
    /// - Parameters:
    ///   - memory: of all the blocks; it stays until the completion is called, exactly once.
    func store(
        _ blocks: Range<Int>,
        _ memory: UnsafeRawBufferPointer,
        _ completion: @escaping @Sendable () -> Void
    ) {
        let isMissing = state.withLock { state in
            state.files != nil && blocks.contains { !state.present.contains($0) }
        }
        guard isMissing, disk.mayKeep else {
            if isMissing { disk.metrics.storeDropped() }
            abandon(blocks)
            return completion()
        }
        let pieces = UnsafeBlocks(memory: memory)
        disk.writers.submit { [self] in
            write(blocks, pieces.memory)
            completion()
        }
    }

    private struct UnsafeBlocks: @unchecked Sendable {  // pinned and read-only until the completion
        let memory: UnsafeRawBufferPointer
    }

    private func write(_ blocks: Range<Int>, _ memory: UnsafeRawBufferPointer) {
        guard let files else { return }
        defer { files.release(blocks) }
        do throws(Errno) {
            if try files.status().links == 0 { return dropFiles() }
            for block in blocks where !state.withLock({ $0.present.contains(block) }) {
                let start = (block - blocks.lowerBound) * BlockGeometry.blockSize
                let piece = UnsafeRawBufferPointer(
                    rebasing: memory[start..<min(start + BlockGeometry.blockSize, memory.count)]
                )
                guard disk.mayWrite, disk.reserve(piece.count, for: identity.name) else {
                    disk.metrics.storeDropped()
                    continue
                }
                try files.write(block, piece)
                disk.wrote(piece.count)
                state.withLock { state in
                    state.present.insert(block)
                    state.proof.wrote(block)
                }
            }
        } catch {
            disk.metrics.storeDropped()
            disk.failed(error, "writing a file of the cache")
        }
        noteUse()
        proveIfComplete()
    }

    // MARK: Use

    private func noteServed(_ count: Int) {
        let isNew = state.withLock { state in
            state.served += count
            let isSecond = state.served >= state.present.count * BlockGeometry.blockSize / 2
            defer { if isSecond { state.use.isProtected = true } }
            return isSecond && !state.use.isProtected
        }
        if isNew { writeUse() }
    }

    /// Writes down that it is in use, at most every few seconds.
    private func noteUse() {
        let now = disk.time.timeOfDay().seconds
        let isNew = state.withLock { state in
            defer { if now - state.use.last >= 10 { state.use.last = now } }
            return now - state.use.last >= 10
        }
        if isNew { writeUse() }
    }

    private func writeUse() {
        disk.writers.submit { [self] in
            let (files, use) = state.withLock { ($0.files, $0.use) }
            do throws(Errno) { try files?.write(use) } catch { disk.failed(error, "writing a table of the cache") }
        }
    }

    // MARK: The whole

    func backing() -> BackingFile? {
        noteUse()
        let now = disk.time.now()
        let (files, known) = state.withLock { state -> (DiskFiles?, BackingFile?) in
            guard state.proof.since != nil else { return (nil, nil) }
            return (state.files, state.backing)
        }
        guard let files else { return nil }
        scrubIfOld(now)
        if let known { return known }
        guard let file = disk.openBacking(files) else { return nil }
        noteServed(identity.size)
        return state.withLock { state in
            if let other = state.backing { return other }
            state.backing = file
            return file
        }
    }

    private func scrubIfOld(_ now: MonotonicInstant) {
        let isOld = state.withLock { state in
            guard let since = state.proof.since, since.duration(to: now) > disk.options.scrubAge else { return false }
            state.proof.adopt(now)
            return true
        }
        if isOld { disk.provers.submit { [weak self] in self?.prove() } }
    }

    /// Reads everything back from the disk when all of it is there and nobody did so yet.
    func proveIfComplete() {
        let isDue = state.withLock { state in
            state.present.isFull && state.files != nil && state.proof.begin()
        }
        if isDue { disk.provers.submit { [weak self] in self?.prove() } }
    }

    private func prove() {
        var proven: FileStatus?
        if let files {
            proven = DiskProof.run(files, disk, checks) { [self] block in
                if state.withLock({ $0.proof.isLost(block) }) { lose(block, files) }
            }
        }
        let now = disk.time.now()
        let (isProven, isDueAgain, waiting) = state.withLock { state in
            let isFull = state.present.isFull
            let isDueAgain = state.proof.ended(isProven: proven != nil, isFull: isFull, now: now)
            defer { if !isDueAgain { state.proofWaiters = [] } }
            return (isFull && proven != nil, isDueAgain, isDueAgain ? [] : state.proofWaiters)
        }
        if isProven, let proven { disk.remember(identity.name, proven) }
        if isDueAgain { disk.provers.submit { [weak self] in self?.prove() } }
        waiting.forEach { $0() }
    }

    /// Reads everything back once more, however long ago that was done; meanwhile what was proven counts on.
    func scrub() async -> ScrubFinding {
        await opened()
        await withCheckedContinuation { continuation in whenProofEnds { continuation.resume() } }
        let now = disk.time.now()
        let isDue = state.withLock { state in
            guard state.files != nil, state.present.isFull else { return false }
            if state.proof.since != nil { state.proof.adopt(now) } else { _ = state.proof.begin() }
            return true
        }
        if isDue { await disk.provers.run { [self] in prove() } }
        if isProven { return .right }
        let missing = identity.blockCount - presentBlocks
        return files == nil || missing == 0 ? .unread : .damaged(blocks: missing)
    }

    /// When all of it was proven last.
    var provenSince: MonotonicInstant? { state.withLock { $0.proof.since } }

    // MARK: Residency

    var isPinned: Bool { state.withLock { $0.pinnedSince != nil } }

    /// The first blocks at or behind `start` that are not there; nil when all of them are.
    func missing(from start: Int, limit: Int) -> Range<Int>? {
        state.withLock { state in
            var start = start
            while start < identity.blockCount {
                let (isIn, blocks) = state.present.firstRun(of: start..<identity.blockCount)
                if !isIn { return blocks.lowerBound..<min(blocks.upperBound, blocks.lowerBound + limit) }
                start = blocks.upperBound
            }
            return nil
        }
    }

    /// Calls `body` when no proof runs: at once, or on the thread that ends it.
    func whenProofEnds(_ body: @escaping @Sendable () -> Void) {
        let isRunning = state.withLock { state in
            if state.proof.isRunning { state.proofWaiters.append(body) }
            return state.proof.isRunning
        }
        if !isRunning { body() }
    }

    /// It was asked for: to whoever evicts it is as if it had been read again. Once its files are open.
    func protect() {
        let isNew = state.withLock { state in
            defer { state.use.isProtected = true }
            return !state.use.isProtected
        }
        if isNew { writeUse() }
    }

    /// This process does not evict it between the two.
    func hold() { disk.hold(identity.name) }
    func letGo() { disk.letGo(identity.name) }

    /// Returns when what was handed to the disk before is written, or was left out.
    func settled() async { await disk.writers.run {} }

    /// There was no room for it a moment ago.
    var isShortOfRoom: Bool { disk.isFull }

    /// Writes down that it is pinned, or that it is not, for all who share the directory. On a thread of the disk, with its
    /// files open.
    func write(pinnedSince since: Int64?) throws(Errno) {
        guard let files else { throw .noEntry }
        try files.write(pinnedSince: since)
        state.withLock { $0.pinnedSince = since }
    }
}
