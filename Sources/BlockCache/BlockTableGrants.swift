import ObjectStorage

// Memory and fetches: how slots are taken, given back and filled.
extension BlockTable {
    // MARK: What comes from the source

    /// Verified bytes of a fetch are in its slots, `end` of them from its beginning.
    package mutating func arrived(_ id: Fetch.ID, through end: Int) -> [Action] {
        guard var fetch = fetches[id], end > fetch.delivered else { return [] }
        let news = ByteRange(offset: fetch.range.offset + fetch.delivered, count: end - fetch.delivered)
        precondition(news.end == fetch.range.end || news.end % BlockGeometry.granuleSize == 0)
        fetch.delivered = end
        fetches[id] = fetch
        var actions: [Action] = []
        for block in BlockGeometry.blocks(of: news) {
            let slot = fetch.slots.lowerBound + block - fetch.firstBlock
            let granules = BlockGeometry.granules(of: news, in: block)
            slots[slot].present.formUnion(granules)
            slots[slot].fetching.subtract(granules)
            answerReady(slots[slot].waiters, &actions)
        }
        return actions
    }

    /// A fetch is over; `failure` is what became of the bytes that had not arrived.
    package mutating func finished(_ id: Fetch.ID, failure: ReadFailure?) -> [Action] {
        var actions = failure == nil ? arrived(id, through: fetches[id]?.range.count ?? 0) : []
        guard let fetch = fetches.removeValue(forKey: id) else { preconditionFailure("unknown fetch") }
        if fetch.isReadAhead {
            readAheadUnderWay.fetches -= 1
            readAheadUnderWay.bytes -= fetch.range.count
            allowance.ended(well: failure == nil)
        }
        if let failure {
            let rest = ByteRange(
                offset: fetch.range.offset + fetch.delivered,
                count: fetch.range.count - fetch.delivered
            )
            fail(fetch, rest, failure, &actions)
        }
        if fetch.content.keepsBlocks { store(fetch, &actions) }
        for slot in fetch.slots { unpin(slot) }
        return actions + serveLine()
    }

    /// Keeps the slots of blocks that are whole now for the disk, as far as it is not behind.
    private mutating func store(_ fetch: Fetch, _ actions: inout [Action]) {
        var slot = fetch.slots.lowerBound
        while slot < fetch.slots.upperBound {
            let start = slot
            while slot < fetch.slots.upperBound, storing < maximumStoring, isWhole(slot, of: fetch) {
                pin(slot)
                storing += 1
                slot += 1
            }
            if slot > start {
                let first = fetch.firstBlock + start - fetch.slots.lowerBound
                let blocks = first..<first + slot - start
                actions.append(.store(Store(content: fetch.content, blocks: blocks, slots: start..<slot)))
            } else {
                let block = fetch.firstBlock + slot - fetch.slots.lowerBound
                if isWhole(slot, of: fetch) { postpone(fetch.content, block, slot) }
                slot += 1
            }
        }
    }

    /// The disk has caught up: what it missed and is still in memory.
    private mutating func storeRest() -> [Action] {
        var actions: [Action] = []
        var looked = 0
        while storing < maximumStoring, looked < unstored.count {
            let (content, block) = unstored[looked]
            looked += 1
            guard let slot = slot(of: content, block), slots[slot].isUnstored else { continue }
            slots[slot].isUnstored = false
            pin(slot)
            storing += 1
            actions.append(.store(Store(content: content, blocks: block..<block + 1, slots: slot..<slot + 1)))
        }
        unstored.removeFirst(looked)
        return actions
    }

    /// Remembers a block for when the disk has caught up; those whose memory was taken since are forgotten in time.
    private mutating func postpone(_ content: CachedContent, _ block: Int, _ place: Int) {
        guard !slots[place].isUnstored else { return }
        slots[place].isUnstored = true
        unstored.append((content, block))
        guard unstored.count > 2 * capacity else { return }
        unstored = unstored.filter { slot(of: $0.content, $0.block) != nil }
    }

    private func isWhole(_ slot: Int, of fetch: Fetch) -> Bool {
        guard let key = slots[slot].key else { return false }
        return slots[slot].present == BlockGeometry.granules(of: key.block, size: fetch.content.size)
    }

    /// The disk has what it wanted of these slots.
    package mutating func stored(_ store: Store) -> [Action] {
        storing -= store.slots.count
        for slot in store.slots { unpin(slot) }
        return serveLine() + storeRest()
    }

    /// Drops every block of a content that turned out to be wrong. Those in use go when they are released.
    package mutating func purge(_ content: CachedContent) {
        for (key, slot) in index where key.content == content.id {
            index[key] = nil
            slots[slot].key = nil
            if slots[slot].pins == 0 {
                recency.remove(slot)
                forget(slot)
            }
        }
    }

    private mutating func fail(_ fetch: Fetch, _ rest: ByteRange, _ failure: ReadFailure, _ actions: inout [Action]) {
        for block in BlockGeometry.blocks(of: rest) {
            let slot = fetch.slots.lowerBound + block - fetch.firstBlock
            let granules = BlockGeometry.granules(of: rest, in: block)
            slots[slot].fetching.subtract(granules)
            slots[slot].ahead.subtract(granules)
            for id in slots[slot].waiters {
                guard let read = reads[id], !read.isAnswered,
                    read.needs.contains(where: { $0.block == block && $0.granules.intersects(granules) })
                else { continue }
                drop(id, read)
                actions.append(.fail(id, failure))
            }
        }
    }

    // MARK: Grants

    /// Gives the read everything it needs, or nothing.
    mutating func grant(_ id: ReadID, _ actions: inout [Action]) -> Bool {
        guard var read = reads[id] else { return true }
        let known = read.needs.map { slot(of: read.content, $0.block) }
        for case let slot? in known { pin(slot) }
        let missing = known.reduce(0) { $0 + ($1 == nil ? 1 : 0) }
        guard available >= missing else {
            for case let slot? in known { unpin(slot) }
            return false
        }
        read.slots = zip(read.needs, known).map { need, slot in
            if let slot { return slot }
            let taken = takeSlots(upTo: 1)
            adopt(taken, read.content, from: need.block)
            pin(taken.lowerBound)
            return taken.lowerBound
        }
        reads[id] = read
        for (need, slot) in zip(read.needs, read.slots) {
            slots[slot].waiters.append(id)
            let missing = need.granules.subtracting(slots[slot].present).subtracting(slots[slot].fetching)
            fetchMissing(missing, of: read.content, need.block, slot, isReadAhead: false, &actions)
        }
        answerReady([id], &actions)
        return true
    }

    /// Grants what waits in line, first come first served; then fills, with what readers leave.
    mutating func serveLine() -> [Action] {
        guard !line.isEmpty || !fillLine.isEmpty else { return [] }
        var actions: [Action] = []
        var served = 0
        while served < line.count, grant(line[served], &actions) { served += 1 }
        line.removeFirst(served)
        serveFills(&actions)
        return actions
    }

    mutating func answerReady(_ candidates: [ReadID], _ actions: inout [Action]) {
        for id in candidates {
            guard let read = reads[id], !read.isAnswered,
                zip(read.needs, read.slots).allSatisfy({ slots[$1].present.isSuperset(of: $0.granules) })
            else { continue }
            for slot in read.slots { slots[slot].waiters.removeAll { $0 == id } }
            reads[id]?.isAnswered = true
            actions.append(.answer(id, Self.segments(of: read)))
        }
    }

    /// Removes a read and what it holds.
    mutating func drop(_ id: ReadID, _ read: Read) {
        reads[id] = nil
        if read.isFill { endFill(read) }
        for slot in read.slots {
            slots[slot].waiters.removeAll { $0 == id }
            unpin(slot)
        }
    }

    // MARK: Fetches

    mutating func fetchMissing(
        _ granules: GranuleSet,
        of content: CachedContent,
        _ block: Int,
        _ slot: Int,
        isReadAhead: Bool,
        _ actions: inout [Action]
    ) {
        for run in granules.runs {
            let offset = block * BlockGeometry.blockSize + run.lowerBound * BlockGeometry.granuleSize
            let end = min(offset + run.count * BlockGeometry.granuleSize, content.size)
            let range = ByteRange(offset: offset, count: end - offset)
            start(content, range, slot..<slot + 1, isReadAhead: isReadAhead, &actions)
        }
    }

    mutating func start(
        _ content: CachedContent,
        _ range: ByteRange,
        _ run: Range<Int>,
        isReadAhead: Bool,
        _ actions: inout [Action]
    ) {
        lastFetch += 1
        let fetch = Fetch(
            id: Fetch.ID(value: lastFetch),
            content: content,
            range: range,
            slots: run,
            slotOffset: range.offset % BlockGeometry.blockSize,
            isReadAhead: isReadAhead
        )
        for slot in run {
            pin(slot)
            let block = fetch.firstBlock + slot - run.lowerBound
            let granules = BlockGeometry.granules(of: range, in: block)
            slots[slot].fetching.formUnion(granules)
            if isReadAhead { slots[slot].ahead.formUnion(granules) }
        }
        fetches[fetch.id] = fetch
        if isReadAhead {
            readAheadUnderWay.fetches += 1
            readAheadUnderWay.bytes += range.count
        }
        actions.append(.fetch(fetch))
    }

    // MARK: Slots

    func slot(of content: CachedContent, _ block: Int) -> Int? { index[Key(content: content.id, block: block)] }

    /// Takes at least one slot, throwing out what goes first; there must be one.
    mutating func takeSlots(upTo wanted: Int) -> Range<Int> {
        while free.count < wanted, let victim = recency.first {
            recency.remove(victim)
            forget(victim)
        }
        guard let run = free.take(upTo: wanted) else { preconditionFailure("no slot, though one was promised") }
        return run
    }

    /// Names fresh slots. They are in no list until somebody pins and unpins them: the caller pins them next.
    mutating func adopt(_ run: Range<Int>, _ content: CachedContent, from block: Int) {
        for slot in run {
            let key = Key(content: content.id, block: block + slot - run.lowerBound)
            slots[slot] = Slot(key: key)
            index[key] = slot
        }
    }

    mutating func pin(_ slot: Int) {
        if slots[slot].pins == 0, !slots[slot].present.isEmpty { recency.remove(slot) }
        slots[slot].pins += 1
    }

    mutating func unpin(_ slot: Int) {
        slots[slot].pins -= 1
        guard slots[slot].pins == 0 else { return }
        if slots[slot].present.isEmpty || slots[slot].key == nil {
            forget(slot)
        } else {
            let isSpent = slots[slot].isSpent && !slots[slot].isReread || slots[slot].isFilled
            recency.append(slot, to: isSpent ? .spent : .kept)
            if recency.spentCount > Self.keptSpent, let oldest = recency.first {
                recency.remove(oldest)
                forget(oldest)
            }
        }
    }

    mutating func forget(_ slot: Int) {
        if let key = slots[slot].key { index[key] = nil }
        tally.wasted += slots[slot].ahead.count * BlockGeometry.granuleSize
        slots[slot] = Slot()
        free.insert(slot)
    }

    mutating func noteEnd(_ read: Read, _ need: Need, _ slot: Int) {
        if read.isFill { return }
        let block = need.block
        let awaited = slots[slot].ahead.intersection(need.granules)
        tally.used += awaited.count * BlockGeometry.granuleSize
        slots[slot].ahead.subtract(awaited)
        let isAtEnd = read.range.end >= min((block + 1) * BlockGeometry.blockSize, read.content.size)
        slots[slot].read.formUnion(need.granules)
        slots[slot].isEndRead = slots[slot].isEndRead || isAtEnd
        if isAtEnd { slots[slot].isFilled = false }
        if slots[slot].isSpent {
            slots[slot].isReread = slots[slot].isReread || isAtEnd
        } else {
            // Two tensors may share a block: whoever reads the end of it leaves the rest to somebody else.
            let whole = BlockGeometry.granules(of: block, size: read.content.size)
            slots[slot].isSpent = slots[slot].isEndRead && slots[slot].read == whole
        }
    }

    // MARK: Arithmetic

    static func needs(of range: ByteRange, in content: CachedContent) -> [Need] {
        let proven = content.isProvenWhole ? ByteRange(offset: 0, count: content.size) : range
        return BlockGeometry.blocks(of: range).map {
            Need(block: $0, granules: BlockGeometry.granules(of: proven, in: $0))
        }
    }

    static func range(of content: CachedContent, _ blocks: Range<Int>) -> ByteRange {
        let start = blocks.lowerBound * BlockGeometry.blockSize
        return ByteRange(offset: start, count: min(blocks.upperBound * BlockGeometry.blockSize, content.size) - start)
    }

    static func segments(of read: Read) -> [Segment] {
        zip(read.needs, read.slots).map { need, slot in
            let start = need.block * BlockGeometry.blockSize
            let from = max(read.range.offset, start)
            let to = min(read.range.end, start + BlockGeometry.blockSize)
            return Segment(slot: slot, offset: from - start, count: to - from)
        }
    }
}
