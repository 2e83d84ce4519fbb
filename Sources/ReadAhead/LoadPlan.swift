import BlockCache
package import ObjectStorage

/// Whether somebody loads a whole file in an order of their own, and what to fetch for them: decided from the reads alone.
///
/// Loaders fault tensors in the order of a dictionary, and several processes each take their share; to cursors that is a
/// row of jumps. What tells a loader from somebody who wants a few bytes is how much of what was touched was read: the file
/// is cut into *units*, its pieces (tensors, members) or 8 MiB where those are longer or not known, and when enough bytes
/// were asked for that are most of the units they are in, the rest of the file is wished for in the order of offsets. What
/// lies there untouched is bounded: by a thirty-second of what was asked for, as some whole tensors may be all that is wanted,
/// and by what memory allows once an eighth of the file was asked for. So whoever reads 4 KiB here and there pays for that
/// and no more, however long it goes on, and who takes every eighth tensor pays for one window.
package struct LoadPlan: Sendable {
    /// Longer pieces are looked at in parts of so many bytes.
    static let longestUnit = 8 << 20
    /// Asked for at least so much before it is called a load, an eighth of smaller files.
    static let evidence = 16 << 20
    private static let smallestEvidence = 4 << 20
    /// This share of the touched units must have been asked for.
    private static let density = 0.6
    /// What is less is left to cursors: reads in order need no second plan.
    private static let jumps = 4
    /// Before so large a part of the file was asked for, what is ahead stays below one in `cautiously` of that.
    private static let certainPart = 8
    private static let cautiously = 32
    /// One wish is for as many blocks, where so many are left and the limit is several times as much.
    private static let chunk = 8
    /// Larger files are left to cursors; a bit for each granule of this takes 512 KiB.
    package static let largestFile = 256 << 30

    private let size: Int
    private var pieceEnds: [Int] = []
    private var asked: BitArray
    private var taken: BitArray
    private var touched: BitArray
    private var units: Set<Int> = []
    private var unitBytes = 0
    private var next = 0
    /// Blocks that were wished for here and that nobody touched yet.
    private(set) var waiting = 0
    /// Granules that were asked for so far, in bytes.
    package private(set) var askedBytes = 0
    package private(set) var isLoad = false

    /// - Parameter size: of the file, in bytes; at most `largestFile`.
    package init(size: Int) {
        self.size = size
        let blocks = (size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize
        asked = BitArray(count: (size + BlockGeometry.granuleSize - 1) / BlockGeometry.granuleSize)
        taken = BitArray(count: blocks)
        touched = BitArray(count: blocks)
    }

    /// The pieces of the file are known now.
    ///
    /// - Parameter ends: as in `ReadPlan`.
    package mutating func learn(pieceEnds ends: [Int]) {
        guard let last = ends.last, last == size else { return }
        pieceEnds = ends
        // What was touched before belongs to other units now.
        units = []
        unitBytes = 0
        for granule in 0..<asked.count where asked[granule] {
            noteUnits(ByteRange(offset: granule * BlockGeometry.granuleSize, count: 1))
        }
    }

    /// A read was asked for.
    package mutating func note(_ range: ByteRange) {
        guard range.count > 0, range.end <= size else { return }
        for granule in range.offset / BlockGeometry.granuleSize...(range.end - 1) / BlockGeometry.granuleSize
        where asked.insert(granule) {
            let start = granule * BlockGeometry.granuleSize
            askedBytes += min(BlockGeometry.granuleSize, size - start)
        }
        for block in BlockGeometry.blocks(of: range) where touched.insert(block) && taken[block] { waiting -= 1 }
        noteUnits(range)
    }

    /// What should be fetched now.
    ///
    /// - Parameters:
    ///   - jumps: how many places readers have begun at.
    ///   - limit: of bytes that may lie there untouched.
    package mutating func wish(jumps: Int, limit: Int) -> Range<Int>? {
        if !isLoad {
            let needed = max(Self.smallestEvidence, min(Self.evidence, size / 8))
            isLoad =
                jumps >= Self.jumps && askedBytes >= needed
                && Double(askedBytes) >= Double(unitBytes) * Self.density
        }
        guard isLoad else { return nil }
        while next < taken.count, touched[next] || taken[next] { next += 1 }
        var end = next
        let isCertain = askedBytes >= size / Self.certainPart
        let allowed = isCertain ? limit : min(limit, askedBytes / Self.cautiously)
        let most = allowed / BlockGeometry.blockSize
        // Requests of one block, each time that one was touched, would cost more than they bring.
        let chunk = min(Self.chunk, max(1, most / 4))
        while end < taken.count, end - next < chunk, !touched[end], !taken[end] { end += 1 }
        return end > next && end - next <= most - waiting ? next..<end : nil
    }

    /// The cache took blocks of a wish.
    package mutating func taken(_ blocks: Range<Int>) {
        for block in blocks where taken.insert(block) && !touched[block] { waiting += 1 }
    }

    /// Counts the units that a range lies in.
    private mutating func noteUnits(_ range: ByteRange) {
        var place = range.offset
        while place < range.end {
            let unit = unit(at: place)
            if units.insert(unit.lowerBound).inserted { unitBytes += unit.count }
            place = unit.upperBound
        }
    }

    private func unit(at offset: Int) -> Range<Int> {
        let piece = pieceEnds.piece(at: offset, size: size)
        let start = piece.lowerBound + (offset - piece.lowerBound) / Self.longestUnit * Self.longestUnit
        return start..<min(start + Self.longestUnit, piece.upperBound)
    }
}

extension [Int] {
    /// The piece that holds an offset, of pieces that end here, or all of a file that has none.
    func piece(at offset: Int, size: Int) -> Range<Int> {
        if isEmpty { return 0..<size }
        var low = 0
        var high = count - 1
        while low < high {
            let middle = (low + high) / 2
            if self[middle] > offset { high = middle } else { low = middle + 1 }
        }
        return (low == 0 ? 0 : self[low - 1])..<self[low]
    }
}

/// A row of bits.
struct BitArray: Sendable {
    let count: Int
    private var words: [UInt64]

    init(count: Int) {
        self.count = count
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    subscript(index: Int) -> Bool { words[index / 64] & (1 << UInt64(index % 64)) != 0 }

    /// - Returns: whether it was not set before.
    mutating func insert(_ index: Int) -> Bool {
        let bit: UInt64 = 1 << UInt64(index % 64)
        defer { words[index / 64] |= bit }
        return words[index / 64] & bit == 0
    }
}
