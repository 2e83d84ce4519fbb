package import ObjectStorage

/// Which blocks are where, who waits for which, and what goes when memory is short: the cache's decisions, without I/O.
///
/// A block is absent, or has a slot of memory with a set of granules that are present and one of those being fetched.
/// One fetch serves all who wait. A read gets the slots for everything it needs at once, or waits in line and holds
/// nothing; so a read that holds something always has all it needs, and ends when its fetches end. Read-ahead takes only
/// what nobody waits for and leaves `reserve` slots, guesses leave half of them. Hence small budgets are slow and never
/// stuck.
package struct BlockTable {
    /// Names a read to its caller, who chooses it and never uses it twice.
    package struct ReadID: Hashable, Sendable {
        package let value: UInt64
        package init(_ value: UInt64) { self.value = value }
    }

    /// Bytes in a slot.
    package struct Segment: Hashable, Sendable {
        package var slot: Int
        package var offset: Int
        package var count: Int
    }

    /// One request to the source: a range of granules that lands in neighbouring slots.
    package struct Fetch: Sendable {
        package struct ID: Hashable, Sendable {
            let value: UInt64
        }
        package let id: ID
        package let content: CachedContent
        /// Of the object.
        package let range: ByteRange
        package let slots: Range<Int>
        /// Where the range begins in the first slot.
        package let slotOffset: Int
        package let isReadAhead: Bool
        /// Bytes of the range that were delivered already.
        var delivered = 0

        var firstBlock: Int { range.offset / BlockGeometry.blockSize }
    }

    package enum Action: Sendable {
        case fetch(Fetch)
        /// Everything is there, and stays until `release`.
        case answer(ReadID, [Segment])
        case fail(ReadID, ReadFailure)
        /// Whole blocks are there that a disk may keep; they stay until `stored`.
        case store(Store)
    }

    /// Neighbouring blocks in neighbouring slots, all of their bytes verified.
    package struct Store: Sendable {
        package let content: CachedContent
        package let blocks: Range<Int>
        package let slots: Range<Int>
    }

    struct Key: Hashable {
        let content: CachedContent.ID
        let block: Int
    }

    struct Slot {
        var key: Key?
        var present = GranuleSet()
        var fetching = GranuleSet()
        /// Fetches under way, reads granted and replies being sent. At 0 the slot may be taken away.
        var pins = 0
        var waiters: [ReadID] = []
        /// What readers have had of it.
        var read = GranuleSet()
        var isEndRead = false
        /// Readers have had all of it.
        var isSpent = false
        /// It was read to the end before, so this is no single pass.
        var isReread = false
        /// It is whole, and the disk was behind when it came.
        var isUnstored = false
        /// Came or comes by read-ahead, and nobody asked for it yet.
        var ahead = GranuleSet()
        /// It came for the disk alone, and nobody has read it to its end.
        var isFilled = false
    }

    struct Need {
        let block: Int
        let granules: GranuleSet
    }

    struct Read {
        let content: CachedContent
        let range: ByteRange
        let needs: [Need]
        /// One for each need; empty while it waits in line.
        var slots: [Int] = []
        var isAnswered = false
        /// Nobody waits for the bytes themselves: see `fill`.
        var isFill = false
    }

    package let capacity: Int
    /// Blocks that one fetch may span.
    package let maximumRun: Int
    /// Spent blocks that are kept: a second reader close behind the first finds them. More would only cost: the kernel
    /// has their bytes, and a stream that goes round in little memory finds it in the processor's cache.
    package static let keptSpent = 16
    /// Slots that read-ahead leaves to readers.
    package let reserve: Int
    /// May change at any time; what is on its way stays.
    package var readAheadLimits: ReadAheadLimits

    var slots: [Slot]
    var index: [Key: Int] = [:]
    var free: FreeSlots
    var recency: RecencyLists
    var reads: [ReadID: Read] = [:]
    /// Reads without memory, in order. One that was cancelled stays here by name only.
    var line: [ReadID] = []
    /// Fills without memory, in order; the same is true of them.
    var fillLine: [ReadID] = []
    /// Fills that are not over, and those of them that have memory.
    var fills = 0
    var runningFills = 0
    var fetches: [Fetch.ID: Fetch] = [:]
    var lastFetch: UInt64 = 0
    /// What is on its way that nobody asked for.
    var readAheadUnderWay = ReadAheadLimits(fetches: 0, bytes: 0)
    var tally = ReadAheadTally()
    /// What the store leaves of `readAheadLimits.fetches`.
    var allowance = ReadAheadAllowance()
    /// Slots that wait for a disk to write them.
    var storing = 0
    /// Blocks that may still be stored if they are in memory when the disk has caught up, oldest first.
    var unstored: [(content: CachedContent, block: Int)] = []

    /// - Parameters:
    ///   - capacity: slots of a block each; at least 4, so that one read of two blocks always finds room.
    ///   - maximumRun: blocks that one fetch may span.
    package init(capacity: Int, maximumRun: Int = 8, readAheadLimits: ReadAheadLimits = ReadAheadLimits()) {
        precondition(capacity >= 4 && maximumRun >= 1)
        self.capacity = capacity
        self.maximumRun = maximumRun
        self.readAheadLimits = readAheadLimits
        reserve = max(2, capacity / 16)
        slots = Array(repeating: Slot(), count: capacity)
        free = FreeSlots(capacity: capacity)
        recency = RecencyLists(capacity: capacity)
    }

    /// Slots that nobody holds.
    package var available: Int { free.count + recency.count }
    /// Reads that wait for memory.
    package var waitingForMemory: Int { line.reduce(0) { $0 + (reads[$1] == nil ? 0 : 1) } }
    package var isIdle: Bool { reads.isEmpty && fetches.isEmpty && storing == 0 }
    /// Slots that may wait for a disk: one that is slow loses writes, and leaves readers half of the memory.
    var maximumStoring: Int { capacity / 2 }

    // MARK: Reading

    /// The bytes, when all are in memory; they stay until `release`.
    package mutating func hit(_ id: ReadID, _ content: CachedContent, _ range: ByteRange) -> [Segment]? {
        let needs = Self.needs(of: range, in: content)
        var found: [Int] = []
        for need in needs {
            guard let slot = index[Key(content: content.id, block: need.block)],
                slots[slot].present.isSuperset(of: need.granules)
            else { return nil }
            found.append(slot)
        }
        found.forEach { pin($0) }
        let read = Read(content: content, range: range, needs: needs, slots: found, isAnswered: true)
        reads[id] = read
        return Self.segments(of: read)
    }

    /// Asks for bytes: at most two blocks' worth, so that the smallest table can serve it.
    package mutating func read(_ id: ReadID, _ content: CachedContent, _ range: ByteRange) -> [Action] {
        let needs = Self.needs(of: range, in: content)
        precondition(!needs.isEmpty && needs.count <= 2 && range.end <= content.size && reads[id] == nil)
        reads[id] = Read(content: content, range: range, needs: needs)
        var actions: [Action] = []
        let mayGrant = waitingForMemory == 0 || needs.allSatisfy { slot(of: content, $0.block) != nil }
        if !mayGrant || !grant(id, &actions) { line.append(id) }
        return actions
    }

    /// Forgets a read or a fill that was not answered yet. False: it was, or it is unknown.
    package mutating func cancel(_ id: ReadID) -> (wasWaiting: Bool, actions: [Action]) {
        guard let read = reads[id], !read.isAnswered else { return (false, []) }
        drop(id, read)
        return (true, serveLine())
    }

    /// The bytes of an answered read are no longer used.
    package mutating func release(_ id: ReadID) -> [Action] {
        guard let read = reads[id], read.isAnswered else { preconditionFailure("release of a read that holds nothing") }
        for (need, slot) in zip(read.needs, read.slots) { noteEnd(read, need, slot) }
        drop(id, read)
        return serveLine()
    }

    /// Fetches blocks before anybody asks for them, as far as memory and the limits allow.
    ///
    /// - Parameter awaited: a block that a reader is about to ask for. It comes with those behind it, also while the store
    ///   wants fewer requests or as many bytes as may be are on their way: alone it would be a request as well.
    /// - Returns: the first block that was not taken care of.
    package mutating func readAhead(
        _ content: CachedContent,
        _ blocks: Range<Int>,
        for reason: ReadAheadReason = .stream,
        awaited: Int? = nil,
        _ actions: inout [Action]
    ) -> Int {
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            if let slot = slot(of: content, block) {
                let missing = BlockGeometry.granules(of: block, size: content.size)
                    .subtracting(slots[slot].present).subtracting(slots[slot].fetching)
                if !missing.isEmpty, !mayReadAhead() { return block }
                fetchMissing(missing, of: content, block, slot, isReadAhead: true, &actions)
                block += 1
                continue
            }
            var end = block + 1
            while end < blocks.upperBound, end - block < maximumRun, slot(of: content, end) == nil { end += 1 }
            guard hasRoomAhead(for: reason, isAwaited: awaited.map((block..<end).contains) ?? false) else {
                return block
            }
            let run = takeSlots(upTo: min(end - block, available - kept(for: reason)))
            adopt(run, content, from: block)
            let range = Self.range(of: content, block..<block + run.count)
            start(content, range, run, isReadAhead: true, &actions)
            block += run.count
        }
        return block
    }

    /// Fetches the granules of a range before anybody asks for them, as `readAhead` does whole blocks.
    ///
    /// - Returns: whether all of them were taken care of.
    package mutating func readAhead(
        _ content: CachedContent,
        granulesOf range: ByteRange,
        for reason: ReadAheadReason,
        _ actions: inout [Action]
    ) -> Bool {
        for need in Self.needs(of: range, in: content) {
            let known = slot(of: content, need.block)
            let there = known.map { slots[$0].present.union(slots[$0].fetching) } ?? GranuleSet()
            let missing = need.granules.subtracting(there)
            if missing.isEmpty { continue }
            guard known == nil ? hasRoomAhead(for: reason) : mayReadAhead() else { return false }
            let slot = known ?? takeSlots(upTo: 1).lowerBound
            if known == nil { adopt(slot..<slot + 1, content, from: need.block) }
            fetchMissing(missing, of: content, need.block, slot, isReadAhead: true, &actions)
        }
        return true
    }

    /// Whether a block that has no memory yet could be fetched ahead now.
    package func hasRoomAhead(for reason: ReadAheadReason, isAwaited: Bool = false) -> Bool {
        mayReadAhead(isAwaited: isAwaited) && available > kept(for: reason) && waitingForMemory == 0
    }

    /// Slots that read-ahead leaves to others.
    private func kept(for reason: ReadAheadReason) -> Int { reason == .stream ? reserve : max(reserve, capacity / 2) }

    private func mayReadAhead(isAwaited: Bool = false) -> Bool {
        let isWithinFetches = readAheadUnderWay.fetches < readAheadLimits.fetches
        // Whoever waits is served anyway, and by fewer requests when what lies behind comes along.
        if isAwaited { return isWithinFetches }
        return isWithinFetches && readAheadUnderWay.fetches < allowance.limit
            && readAheadUnderWay.bytes < readAheadLimits.bytes
    }

    /// Whether a reader of the content waits for bytes that are on their way.
    package func isAwaited(_ content: CachedContent.ID) -> Bool {
        reads.values.contains { $0.content.id == content && !$0.isAnswered && !$0.isFill }
    }

    /// What became of bytes that were fetched ahead, since the last call.
    mutating func takeTally() -> ReadAheadTally {
        defer { tally = ReadAheadTally() }
        return tally
    }

    /// The store asked to slow down: fewer requests that nobody waits for.
    package mutating func throttled() { allowance.throttled(onTheirWay: readAheadUnderWay.fetches) }
}

/// Why bytes cannot be had.
package enum ReadFailure: Error, Hashable, Sendable {
    /// The generation is gone.
    case stale
    /// The bytes that came are not the object's.
    case corrupt
    /// The store did not give them.
    case unavailable
    case timedOut
    /// The reader gave up.
    case cancelled
}
