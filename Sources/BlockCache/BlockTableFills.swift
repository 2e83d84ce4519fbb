import ObjectStorage

// Fills: blocks that are wanted for their own sake, to be on the disk or to stay in memory, and not by a reader.
//
// A fill is a read of whole blocks with the lowest rank. It gets memory only when no reader waits for any and more than
// `reserve` stays; only one runs while readers are at work, and a few when they are not. What it holds goes back when it
// is released, so a disk that is slow slows fills down, and nothing else.
extension BlockTable {
    package static let maximumFills = 4

    /// Blocks that one fill may ask for.
    package var maximumFillRun: Int { min(maximumRun, max(1, capacity / 4)) }

    /// Asks for whole blocks, verified, in memory; answered like a read, and released like one.
    ///
    /// - Parameter blocks: of the content; at most `maximumFillRun`.
    package mutating func fill(_ id: ReadID, _ content: CachedContent, _ blocks: Range<Int>) -> [Action] {
        precondition(!blocks.isEmpty && blocks.count <= maximumFillRun && reads[id] == nil)
        let range = Self.range(of: content, blocks)
        var read = Read(content: content, range: range, needs: Self.needs(of: range, in: content))
        read.isFill = true
        reads[id] = read
        fills += 1
        fillLine.append(id)
        var actions: [Action] = []
        serveFills(&actions)
        return actions
    }

    /// Where a read or a fill begins.
    func firstBlock(of id: ReadID) -> Int { reads[id]?.needs.first?.block ?? 0 }

    /// Slots that hold something, or are about to.
    var usedSlots: Int { capacity - free.count }

    /// Bytes that are present, by content; those of the last granule of a content count in full.
    var residentBytes: [CachedContent.ID: Int] {
        var bytes: [CachedContent.ID: Int] = [:]
        for (key, slot) in index {
            bytes[key.content, default: 0] += slots[slot].present.bits.nonzeroBitCount * BlockGeometry.granuleSize
        }
        return bytes
    }

    mutating func serveFills(_ actions: inout [Action]) {
        var served = 0
        while served < fillLine.count, waitingForMemory == 0, grantFill(fillLine[served], &actions) { served += 1 }
        fillLine.removeFirst(served)
    }

    mutating func endFill(_ read: Read) {
        fills -= 1
        if !read.slots.isEmpty { runningFills -= 1 }
    }

    /// Whether readers leave requests to one more fill.
    private var mayFill: Bool {
        let readersAreAtWork = reads.count > fills || readAheadUnderWay.fetches > 0
        return runningFills < (readersAreAtWork ? 1 : Self.maximumFills)
    }

    /// Gives the fill everything it needs, in as few requests as there are runs of free memory; or nothing.
    private mutating func grantFill(_ id: ReadID, _ actions: inout [Action]) -> Bool {
        guard var read = reads[id] else { return true }
        guard mayFill else { return false }
        let known = read.needs.map { slot(of: read.content, $0.block) }
        for case let slot? in known { pin(slot) }
        let missing = known.reduce(0) { $0 + ($1 == nil ? 1 : 0) }
        guard available >= missing + reserve else {
            for case let slot? in known { unpin(slot) }
            return false
        }
        var taken: [Range<Int>] = []
        var index = 0
        while index < read.needs.count {
            if let slot = known[index] {
                read.slots.append(slot)
                index += 1
                continue
            }
            let length = known[index...].prefix { $0 == nil }.count
            let run = takeSlots(upTo: length)
            adopt(run, read.content, from: read.needs[index].block)
            for slot in run {
                slots[slot].isFilled = read.content.keepsBlocks
                pin(slot)
            }
            read.slots += run
            taken.append(index..<index + run.count)
            index += run.count
        }
        reads[id] = read
        runningFills += 1
        for slot in read.slots { slots[slot].waiters.append(id) }
        beginFetches(of: read, known: known, taken: taken, &actions)
        answerReady([id], &actions)
        return true
    }

    private mutating func beginFetches(
        of read: Read,
        known: [Int?],
        taken: [Range<Int>],
        _ actions: inout [Action]
    ) {
        for run in taken {
            let blocks = read.needs[run.lowerBound].block..<read.needs[run.upperBound - 1].block + 1
            let first = read.slots[run.lowerBound]
            let range = Self.range(of: read.content, blocks)
            start(read.content, range, first..<first + run.count, isReadAhead: false, &actions)
        }
        for (need, slot) in zip(read.needs, known) {
            guard let slot else { continue }
            let rest = need.granules.subtracting(slots[slot].present).subtracting(slots[slot].fetching)
            fetchMissing(rest, of: read.content, need.block, slot, isReadAhead: false, &actions)
        }
    }
}
