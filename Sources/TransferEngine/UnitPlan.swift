package import ObjectStorage

// How a file is cut for the way.
//
// A *unit* is what one request fetches, one buffer holds and one part stores. Units begin at multiples of the granule
// (64 KiB), so that the granule CRCs of the parts, put side by side, are the granule CRCs of the file. A resumed file
// keeps the parts it has, whatever size they were cut in, and only the gaps between them are cut anew.

/// How a file is cut into units.
package enum UnitPlan {
    /// The span of one CRC in a CRC table, in bytes.
    package static let granule = 65_536
    /// The granule CRCs of a part travel in one value of its custom metadata: 4 KiB of base64, 768 granules. 32 MiB
    /// leaves room.
    package static let largestUnit = 32 << 20

    /// The unit for a file of `fileSize` bytes when buffers have `bufferSize`: large files take larger units while
    /// buffers allow, so that their number, and the money for their requests, stays low.
    ///
    /// - Parameter bufferSize: a multiple of the granule.
    package static func unitSize(fileSize: Int, bufferSize: Int) -> Int {
        precondition(bufferSize >= granule && bufferSize % granule == 0)
        return min(bufferSize, largestUnit)
    }

    /// The held ranges that can stand side by side: in order, none overlapping, each within the file.
    ///
    /// Of two that overlap the one that begins first wins, and of two that begin together the longer; what is left out
    /// is waste for the caller to collect.
    package static func tiles(fileSize: Int, held: [ByteRange]) -> [ByteRange] {
        let ordered = held.sorted { ($0.offset, $1.count) < ($1.offset, $0.count) }
        var chosen: [ByteRange] = []
        var end = 0
        for range in ordered where range.count > 0 && range.offset >= end && range.end <= fileSize {
            let isAligned = range.offset % granule == 0 && (range.end % granule == 0 || range.end == fileSize)
            guard isAligned else { continue }
            chosen.append(range)
            end = range.end
        }
        return chosen
    }

    /// The units that fill what `tiles` leave open, in order.
    package static func gaps(fileSize: Int, tiles: [ByteRange], unitSize: Int) -> [ByteRange] {
        precondition(unitSize > 0 && unitSize % granule == 0)
        var units: [ByteRange] = []
        var position = 0
        for tile in tiles + [ByteRange(offset: fileSize, count: 0)] {
            while position < tile.offset {
                let count = min(unitSize, tile.offset - position)
                units.append(ByteRange(offset: position, count: count))
                position += count
            }
            position = max(position, tile.end)
        }
        return units
    }
}
