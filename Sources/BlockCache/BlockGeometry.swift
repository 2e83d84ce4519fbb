package import ObjectStorage

/// How an object is cut: blocks of 1 MiB are cached, granules of 64 KiB are fetched, verified and delivered.
package enum BlockGeometry {
    /// Bytes in a block; the last one of an object may be shorter.
    package static let blockSize = 1 << 20
    /// Bytes in a granule; the last one of an object may be shorter.
    package static let granuleSize = 1 << 16
    package static let granulesPerBlock = blockSize / granuleSize

    /// The blocks that hold `range`; none for an empty range.
    package static func blocks(of range: ByteRange) -> Range<Int> {
        guard range.count > 0 else { return 0..<0 }
        return range.offset / blockSize..<(range.end + blockSize - 1) / blockSize
    }

    /// The granules of `block` that `range` touches.
    package static func granules(of range: ByteRange, in block: Int) -> GranuleSet {
        let start = max(range.offset - block * blockSize, 0)
        let end = min(range.end - block * blockSize, blockSize)
        guard start < end else { return GranuleSet() }
        return GranuleSet(start / granuleSize..<(end + granuleSize - 1) / granuleSize)
    }

    /// Every granule of `block` in an object of `size` bytes.
    package static func granules(of block: Int, size: Int) -> GranuleSet {
        granules(of: ByteRange(offset: 0, count: size), in: block)
    }
}

/// Some of the 16 granules of a block.
package struct GranuleSet: Hashable, Sendable {
    package private(set) var bits: UInt16 = 0

    package init() {}
    package init(_ range: Range<Int>) {
        for granule in range { bits |= 1 << UInt16(granule) }
    }

    package var isEmpty: Bool { bits == 0 }
    package func isSuperset(of other: Self) -> Bool { other.bits & ~bits == 0 }
    package func intersects(_ other: Self) -> Bool { bits & other.bits != 0 }
    package func contains(_ granule: Int) -> Bool { bits & (1 << UInt16(granule)) != 0 }
    package var count: Int { bits.nonzeroBitCount }
    package func union(_ other: Self) -> Self {
        var all = self
        all.formUnion(other)
        return all
    }
    package func intersection(_ other: Self) -> Self {
        var both = self
        both.bits &= other.bits
        return both
    }
    package mutating func formUnion(_ other: Self) { bits |= other.bits }
    package mutating func subtract(_ other: Self) { bits &= ~other.bits }
    package func subtracting(_ other: Self) -> Self {
        var rest = self
        rest.subtract(other)
        return rest
    }

    /// The granules as runs of neighbours, ascending.
    package var runs: [Range<Int>] {
        var runs: [Range<Int>] = []
        var start: Int?
        for granule in 0...BlockGeometry.granulesPerBlock {
            let isIn = granule < BlockGeometry.granulesPerBlock && contains(granule)
            if isIn, start == nil { start = granule }
            if !isIn, let first = start {
                runs.append(first..<granule)
                start = nil
            }
        }
        return runs
    }
}
