/// Some of the blocks of a content.
struct BlockSet: Hashable, Sendable {
    private var words: [UInt64]
    /// How many blocks the content has.
    let capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        words = Array(repeating: 0, count: (capacity + 63) / 64)
    }

    var isFull: Bool { count == capacity }

    func contains(_ block: Int) -> Bool { words[block / 64] >> UInt64(block % 64) & 1 == 1 }

    mutating func insert(_ block: Int) {
        guard !contains(block) else { return }
        words[block / 64] |= 1 << UInt64(block % 64)
        count += 1
    }

    mutating func remove(_ block: Int) {
        guard contains(block) else { return }
        words[block / 64] &= ~(1 << UInt64(block % 64))
        count -= 1
    }

    /// The first blocks of `range` that are all in the set, or all not in it.
    func firstRun(of range: Range<Int>) -> (isIn: Bool, blocks: Range<Int>) {
        let isIn = contains(range.lowerBound)
        let end = range.first { contains($0) != isIn } ?? range.upperBound
        return (isIn, range.lowerBound..<end)
    }
}
