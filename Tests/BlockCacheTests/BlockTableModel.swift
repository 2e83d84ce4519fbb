import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

/// Drives a `BlockTable` through a random schedule and keeps a memory of its own beside it: every answer must show the
/// bytes that were asked for, nothing may be overwritten while somebody looks at it, and nobody waits for ever.
struct BlockTableModel {
    struct Granule: Hashable {
        var slot: Int
        var index: Int
    }

    struct Bytes: Hashable {
        var content: CachedContent.ID
        /// Of the object, in granules.
        var granule: Int
    }

    private(set) var table: BlockTable
    private var random: SeededRandom
    private let contents: [CachedContent]
    private var memory: [Granule: Bytes] = [:]
    private var writers: [Granule: BlockTable.Fetch.ID] = [:]
    private var fetches: [BlockTable.Fetch] = []
    private var delivered: [BlockTable.Fetch.ID: Int] = [:]
    private var waiting: [BlockTable.ReadID: (content: CachedContent, range: ByteRange)] = [:]
    private var showing: [(id: BlockTable.ReadID, granules: [Granule: Bytes])] = []
    private var storing: [(store: BlockTable.Store, granules: [Granule: Bytes])] = []
    private(set) var stores = 0
    private var lastRead: UInt64 = 0
    private(set) var answers = 0
    private(set) var failures = 0

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        let capacity = Int.random(in: 4...24, using: &random)
        table = BlockTable(capacity: capacity, maximumRun: Int.random(in: 1...8, using: &random))
        var sizes = SeededRandom(seed: seed &+ 1)
        contents = (0..<3).map { index in
            .silent(size: Int.random(in: 1...(20 << 20), using: &sizes), keepsBlocks: index > 0)
        }
    }

    // MARK: Schedule

    mutating func step() throws {
        switch Int.random(in: 0..<12, using: &random) {
        case 10: try endStore()
        case 11: try fill()
        case 0..<3: try read()
        case 3: try readAhead()
        case 4: try cancel()
        case 5, 6: try arrive()
        case 7: try finish(failing: Int.random(in: 0..<8, using: &random) == 0)
        default: try release()
        }
        #expect(table.available >= 0 && table.available <= table.capacity)
    }

    /// Lets everything under way end well; then nobody may be waiting.
    mutating func drain() throws {
        while !fetches.isEmpty || !showing.isEmpty || !storing.isEmpty {
            if !storing.isEmpty { try endStore() }
            if !fetches.isEmpty { try finish(failing: false) }
            if !showing.isEmpty { try release() }
        }
        #expect(waiting.isEmpty, "readers wait though nothing is under way")
        #expect(table.isIdle)
        #expect(table.available == table.capacity)
    }

    private mutating func read() throws {
        guard let content = contents.randomElement(using: &random) else { return }
        let offset = Int.random(in: 0..<content.size, using: &random)
        let range = ByteRange(
            offset: offset,
            count: Int.random(in: 1...min(1 << 20, content.size - offset), using: &random)
        )
        lastRead += 1
        let id = BlockTable.ReadID(lastRead)
        if Bool.random(using: &random), let segments = table.hit(id, content, range) {
            waiting[id] = (content, range)
            return try show(id, segments)
        }
        waiting[id] = (content, range)
        try perform(table.read(id, content, range))
    }

    private mutating func readAhead() throws {
        guard let content = contents.randomElement(using: &random) else { return }
        let blocks = (content.size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize
        let first = Int.random(in: 0..<blocks, using: &random)
        var actions: [BlockTable.Action] = []
        let end = table.readAhead(content, first..<min(blocks, first + 12), &actions)
        #expect(end >= first)
        try perform(actions)
    }

    private mutating func fill() throws {
        guard let content = contents.randomElement(using: &random) else { return }
        let count = (content.size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize
        let first = Int.random(in: 0..<count, using: &random)
        let most = min(table.maximumFillRun, count - first)
        let blocks = first..<first + Int.random(in: 1...most, using: &random)
        lastRead += 1
        let id = BlockTable.ReadID(lastRead)
        waiting[id] = (content, BlockTable.range(of: content, blocks))
        try perform(table.fill(id, content, blocks))
    }

    private mutating func cancel() throws {
        guard let id = waiting.keys.sorted(by: { $0.value < $1.value }).randomElement(using: &random) else { return }
        guard !showing.contains(where: { $0.id == id }) else { return }
        let (wasWaiting, actions) = table.cancel(id)
        #expect(wasWaiting)
        waiting[id] = nil
        try perform(actions)
    }

    private mutating func arrive() throws {
        guard let fetch = fetches.randomElement(using: &random) else { return }
        let granule = BlockGeometry.granuleSize
        let before = delivered[fetch.id] ?? 0
        let end = min(before + granule * Int.random(in: 1...8, using: &random), fetch.range.count)
        guard end > before else { return }
        write(fetch, before..<end)
        try perform(table.arrived(fetch.id, through: end))
    }

    private mutating func finish(failing: Bool) throws {
        guard let index = fetches.indices.randomElement(using: &random) else { return }
        let fetch = fetches.remove(at: index)
        let before = delivered[fetch.id] ?? 0
        if !failing, before < fetch.range.count { write(fetch, before..<fetch.range.count) }
        for (granule, writer) in writers where writer == fetch.id { writers[granule] = nil }
        try perform(table.finished(fetch.id, failure: failing ? .unavailable : nil))
    }

    private mutating func release() throws {
        guard let index = showing.indices.randomElement(using: &random) else { return }
        let shown = showing.remove(at: index)
        for (granule, bytes) in shown.granules {
            #expect(memory[granule] == bytes, "bytes changed while they were shown")
        }
        waiting[shown.id] = nil
        try perform(table.release(shown.id))
    }

    private mutating func endStore() throws {
        guard let index = storing.indices.randomElement(using: &random) else { return }
        let ended = storing.remove(at: index)
        for (granule, bytes) in ended.granules {
            #expect(memory[granule] == bytes, "bytes changed while the disk wrote them")
        }
        try perform(table.stored(ended.store))
    }

    private mutating func beginStore(_ store: BlockTable.Store) {
        stores += 1
        var granules: [Granule: Bytes] = [:]
        for (block, slot) in zip(store.blocks, store.slots) {
            let whole = BlockGeometry.granules(of: block, size: store.content.size)
            for index in whole.runs.joined() {
                let number = block * BlockGeometry.granulesPerBlock + index
                let bytes = Bytes(content: store.content.id, granule: number)
                let granule = Granule(slot: slot, index: index)
                #expect(memory[granule] == bytes, "a block is stored that is not there")
                granules[granule] = bytes
            }
        }
        storing.append((store, granules))
        #expect(storing.reduce(0) { $0 + $1.store.slots.count } <= table.maximumStoring)
    }

    // MARK: What the table wants

    private mutating func perform(_ actions: [BlockTable.Action]) throws {
        for action in actions {
            switch action {
            case .fetch(let fetch): begin(fetch)
            case .answer(let id, let segments): try show(id, segments)
            case .fail(let id, _):
                #expect(waiting.removeValue(forKey: id) != nil, "failed twice, or after an answer")
                failures += 1
            case .store(let store): beginStore(store)
            }
        }
    }

    private mutating func begin(_ fetch: BlockTable.Fetch) {
        #expect(fetch.range.end <= fetch.content.size && fetch.range.count > 0)
        #expect(fetch.range.offset % BlockGeometry.granuleSize == 0)
        for (granule, _) in places(fetch, 0..<fetch.range.count) {
            #expect(writers[granule] == nil, "two fetches write one granule")
            #expect(!showing.contains { $0.granules[granule] != nil }, "a fetch writes what is being shown")
            #expect(!storing.contains { $0.granules[granule] != nil }, "a fetch writes what is being stored")
            writers[granule] = fetch.id
            memory[granule] = nil
        }
        fetches.append(fetch)
    }

    private mutating func write(_ fetch: BlockTable.Fetch, _ part: Range<Int>) {
        for (granule, bytes) in places(fetch, part) {
            memory[granule] = bytes
            writers[granule] = nil
        }
        delivered[fetch.id] = part.upperBound
    }

    private func places(_ fetch: BlockTable.Fetch, _ part: Range<Int>) -> [(Granule, Bytes)] {
        let size = BlockGeometry.granuleSize
        return stride(from: part.lowerBound, to: part.upperBound, by: size).map { offset in
            let inSlots = fetch.slotOffset + offset
            let granule = Granule(
                slot: fetch.slots.lowerBound + inSlots / BlockGeometry.blockSize,
                index: inSlots % BlockGeometry.blockSize / size
            )
            return (granule, Bytes(content: fetch.content.id, granule: (fetch.range.offset + offset) / size))
        }
    }

    private mutating func show(_ id: BlockTable.ReadID, _ segments: [BlockTable.Segment]) throws {
        let asked = try #require(waiting[id], "answered twice, or after cancel")
        answers += 1
        #expect(segments.reduce(0) { $0 + $1.count } == asked.range.count)
        var granules: [Granule: Bytes] = [:]
        var offset = asked.range.offset
        for segment in segments {
            #expect(offset % BlockGeometry.blockSize == segment.offset)
            let size = BlockGeometry.granuleSize
            for index in segment.offset / size...(segment.offset + segment.count - 1) / size {
                let block = offset / BlockGeometry.blockSize
                let bytes = Bytes(
                    content: asked.content.id,
                    granule: block * BlockGeometry.granulesPerBlock + index
                )
                let granule = Granule(slot: segment.slot, index: index)
                #expect(memory[granule] == bytes, "other bytes than were asked for")
                granules[granule] = bytes
            }
            offset += segment.count
        }
        showing.append((id, granules))
    }
}
