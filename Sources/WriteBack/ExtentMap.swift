/// A set of byte ranges: sorted, disjoint, none touching another. Half-open, never empty.
package struct ExtentMap: Hashable, Sendable {
    /// In order.
    package private(set) var ranges: [Range<Int>] = []

    package init() {}

    /// Ranges that overlap or touch are joined.
    package init(_ ranges: some Sequence<Range<Int>>) {
        for range in ranges { insert(range) }
    }

    /// Bytes in all of them.
    package var count: Int { ranges.reduce(0) { $0 + $1.count } }
    package var isEmpty: Bool { ranges.isEmpty }
    /// The end of the last range.
    package var end: Int { ranges.last?.upperBound ?? 0 }
    /// How many bytes from 0 on are all there.
    package var front: Int { ranges.first.map { $0.lowerBound == 0 ? $0.upperBound : 0 } ?? 0 }

    /// The index of the first range that ends at `offset` or behind it.
    private func index(endingFrom offset: Int) -> Int {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    package mutating func insert(_ range: Range<Int>) {
        if range.isEmpty { return }
        let first = index(endingFrom: range.lowerBound)
        var last = first
        var joined = range
        while last < ranges.count, ranges[last].lowerBound <= range.upperBound {
            joined = min(joined.lowerBound, ranges[last].lowerBound)..<max(joined.upperBound, ranges[last].upperBound)
            last += 1
        }
        ranges.replaceSubrange(first..<last, with: CollectionOfOne(joined))
    }

    package mutating func remove(_ range: Range<Int>) {
        if range.isEmpty { return }
        let first = index(endingFrom: range.lowerBound)
        var last = first
        var rest: [Range<Int>] = []
        while last < ranges.count, ranges[last].lowerBound < range.upperBound {
            let old = ranges[last]
            if old.lowerBound < range.lowerBound { rest.append(old.lowerBound..<min(old.upperBound, range.lowerBound)) }
            if old.upperBound > range.upperBound { rest.append(max(old.lowerBound, range.upperBound)..<old.upperBound) }
            last += 1
        }
        ranges.replaceSubrange(first..<last, with: rest)
    }

    package func contains(_ range: Range<Int>) -> Bool {
        if range.isEmpty { return true }
        let index = index(endingFrom: range.upperBound)
        return index < ranges.count && ranges[index].lowerBound <= range.lowerBound
    }

    package func intersects(_ range: Range<Int>) -> Bool { !parts(of: range).isEmpty }

    /// What of `range` is in the set, in order.
    package func parts(of range: Range<Int>) -> [Range<Int>] {
        if range.isEmpty { return [] }
        var parts: [Range<Int>] = []
        for index in index(endingFrom: range.lowerBound + 1)..<ranges.count {
            let part = ranges[index].clamped(to: range)
            if ranges[index].lowerBound >= range.upperBound { break }
            if !part.isEmpty { parts.append(part) }
        }
        return parts
    }

    /// What of `range` is not in the set, in order.
    package func gaps(in range: Range<Int>) -> [Range<Int>] {
        var gaps: [Range<Int>] = []
        var start = range.lowerBound
        for part in parts(of: range) {
            if start < part.lowerBound { gaps.append(start..<part.lowerBound) }
            start = part.upperBound
        }
        if start < range.upperBound { gaps.append(start..<range.upperBound) }
        return gaps
    }

    package mutating func formUnion(_ other: ExtentMap) { for range in other.ranges { insert(range) } }
    package mutating func subtract(_ other: ExtentMap) { for range in other.ranges { remove(range) } }
}
