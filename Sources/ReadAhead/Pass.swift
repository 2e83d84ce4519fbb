import BlockCache
package import ObjectStorage

/// What readers have had of a file since they began to go through it: cursors fetch none of that once more.
///
/// Who loads tensors in an order of their own comes past pieces that were read before. Memory has let go of those, for the
/// kernel has them now, and what a stream fetches again there nobody asks for. But a file may be read once more, when the
/// kernel has let go of it, too. So when readers come back for more than a step, everything is forgotten: a new pass.
package struct Pass: Sendable {
    /// Headers are read several times, and neighbours share a granule: so many bytes are no new pass.
    static let step = 1 << 20

    private let size: Int
    private var had: BitArray
    private var repeated = 0

    /// - Parameter size: of the file, in bytes; at most `LoadPlan.largestFile`.
    package init(size: Int) {
        self.size = size
        had = BitArray(count: (size + BlockGeometry.granuleSize - 1) / BlockGeometry.granuleSize)
    }

    /// A read was asked for.
    package mutating func note(_ range: ByteRange) {
        guard range.count > 0, range.end <= size else { return }
        if insert(range) { return }
        repeated += range.count
        guard repeated >= Self.step else { return }
        self = Pass(size: size)
        _ = insert(range)
    }

    /// The first blocks of a wish that readers have not had whole, as far as they are neighbours; empty when they had all.
    package func unread(_ blocks: Range<Int>) -> Range<Int> {
        guard let start = blocks.first(where: { !wasRead($0) }) else { return blocks.upperBound..<blocks.upperBound }
        return start..<(blocks[start...].first(where: wasRead) ?? blocks.upperBound)
    }

    /// - Returns: whether anything of it is new.
    private mutating func insert(_ range: ByteRange) -> Bool {
        var isNew = false
        for granule in range.offset / BlockGeometry.granuleSize...(range.end - 1) / BlockGeometry.granuleSize
        where had.insert(granule) { isNew = true }
        return isNew
    }

    private func wasRead(_ block: Int) -> Bool {
        let first = block * BlockGeometry.granulesPerBlock
        let granules = first..<min(first + BlockGeometry.granulesPerBlock, had.count)
        return !granules.isEmpty && granules.allSatisfy { had[$0] }
    }
}
