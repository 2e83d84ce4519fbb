/// Where the parts of a written file begin and end. It depends on nothing but their number, so that parts can be uploaded
/// before anybody knows how long the file will be.
///
/// Sizes grow: 32 parts of the first size, 32 of twice that, and so on, up to `largest`. A file of 64 GiB has 225 parts; the
/// largest object of Cloud Storage (5 TiB) some 5,300, which are composed in three levels of 32.
package struct PartLayout: Hashable, Sendable {
    /// Bytes of the first parts; a multiple of 256 KiB, as an upload session wants.
    package let smallest: Int
    /// Bytes of the last ones.
    package let largest: Int
    private static let perSize = 32

    /// 16 MiB to 1 GiB.
    package static let standard = PartLayout(smallest: 16 << 20, largest: 1 << 30)

    /// - Parameters:
    ///   - smallest: a power of two.
    ///   - largest: the same or a larger one.
    package init(smallest: Int, largest: Int) {
        precondition(smallest > 0 && smallest.nonzeroBitCount == 1 && largest.nonzeroBitCount == 1)
        precondition(largest >= smallest)
        self.smallest = smallest
        self.largest = largest
    }

    /// The bytes of the part with this number; the last one of a file has fewer.
    package func range(of part: Int) -> Range<Int> {
        var start = 0
        var size = smallest
        var rest = part
        while rest >= Self.perSize, size < largest {
            start += Self.perSize * size
            size *= 2
            rest -= Self.perSize
        }
        start += rest * size
        return start..<(start + size)
    }

    /// The part that the byte belongs to.
    package func part(at offset: Int) -> Int {
        var start = 0
        var size = smallest
        var first = 0
        while size < largest, offset - start >= Self.perSize * size {
            start += Self.perSize * size
            size *= 2
            first += Self.perSize
        }
        return first + (offset - start) / size
    }

    /// The parts that the bytes belong to.
    package func parts(of range: Range<Int>) -> Range<Int> {
        range.isEmpty ? 0..<0 : part(at: range.lowerBound)..<(part(at: range.upperBound - 1) + 1)
    }
}
