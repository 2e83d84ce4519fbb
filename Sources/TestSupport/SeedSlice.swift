import Glibc

/// How many seeds a test of random input runs with.
package enum SeedSlice {
    private static let isSoak = getenv("PENSTOCK_SOAK").map { String(cString: $0) == "1" } ?? false

    /// The first `count` seeds, or with `PENSTOCK_SOAK=1` the first `full`.
    package static func first(_ count: UInt64, ofSoak full: UInt64) -> Range<UInt64> { 0..<(isSoak ? full : count) }
}
