/// Which slots of the arena are unused; hands them out in runs of neighbours, so that one request fills several blocks.
///
/// The lowest first: memory that was used a moment ago is in the processor's cache, and what a stream never needs is
/// never touched.
struct FreeSlots {
    private var words: [UInt64]
    private(set) var count = 0
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        words = Array(repeating: 0, count: (capacity + 63) / 64)
        for slot in 0..<capacity { insert(slot) }
    }

    mutating func insert(_ slot: Int) {
        precondition(slot < capacity && !contains(slot), "slot \(slot) is free already")
        words[slot / 64] |= 1 << UInt64(slot % 64)
        count += 1
    }

    func contains(_ slot: Int) -> Bool { words[slot / 64] & (1 << UInt64(slot % 64)) != 0 }

    /// Takes the first run of `length` slots, or the longest shorter one; nil when none is free.
    mutating func take(upTo length: Int) -> Range<Int>? {
        guard count > 0, length > 0 else { return nil }
        let best = longestRun(enough: length)
        for slot in best { words[slot / 64] &= ~(1 << UInt64(slot % 64)) }
        count -= best.count
        return best
    }

    private func longestRun(enough length: Int) -> Range<Int> {
        var best = 0..<0
        var slot = 0
        while slot < capacity, best.count < length {
            if slot % 64 == 0, words[slot / 64] == 0 {
                slot += 64
            } else if contains(slot) {
                let start = slot
                while slot < capacity, slot - start < length, contains(slot) { slot += 1 }
                if slot - start > best.count { best = start..<slot }
            } else {
                slot += 1
            }
        }
        return best
    }
}
