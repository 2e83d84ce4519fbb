import Synchronization

/// How often values of each size occurred: fixed buckets, two per power of two, so that an estimate is at most a third
/// off. Recording takes two atomic instructions and never waits.
package final class Histogram: @unchecked Sendable {  // the buckets are atomics, their memory lives as long as this
    /// Values from 2^40 - 1 on (18 minutes in nanoseconds, 1 TiB in bytes) share the last bucket.
    package static let upperBounds: [Int] = makeUpperBounds()

    package let description: MetricDescription
    private let buckets: UnsafeMutablePointer<Atomic<Int>>
    private let total = Atomic<Int>(0)

    init(_ description: MetricDescription) {
        self.description = description
        buckets = .allocate(capacity: Self.upperBounds.count)
        for index in Self.upperBounds.indices { (buckets + index).initialize(to: Atomic(0)) }
    }

    deinit {
        buckets.deinitialize(count: Self.upperBounds.count)
        buckets.deallocate()
    }

    /// Records one value; negative ones count as 0.
    package func record(_ value: Int) {
        let value = max(0, value)
        buckets[Self.bucket(of: value)].wrappingAdd(1, ordering: .relaxed)
        total.wrappingAdd(value, ordering: .relaxed)
    }

    /// What was recorded so far. While others record, the parts may be a few records apart.
    package func snapshot() -> HistogramSnapshot {
        HistogramSnapshot(
            counts: Self.upperBounds.indices.map { buckets[$0].load(ordering: .relaxed) },
            sum: total.load(ordering: .relaxed)
        )
    }

    /// The first bucket whose upper bound is not below `value`.
    ///
    /// Bounds are 0, 1, 2 and then 3·2^k - 1 and 4·2^k - 1: the two highest bits of `value` name the bucket.
    static func bucket(of value: Int) -> Int {
        if value < 2 { return value }
        let exponent = Int.bitWidth - 1 - value.leadingZeroBitCount
        let half = value >> (exponent - 1) & 1
        return min(2 * exponent + half, upperBounds.count - 1)
    }

    private static func makeUpperBounds() -> [Int] {
        var bounds = [0, 1]
        for exponent in 1..<40 { bounds += [3 << (exponent - 1) - 1, 2 << exponent - 1] }
        return bounds + [Int.max]
    }
}

/// The state of a histogram at one moment.
package struct HistogramSnapshot: Hashable, Sendable {
    /// How many values fell into each bucket; bucket `i` ends at `Histogram.upperBounds[i]`, included.
    package let counts: [Int]
    /// Of all values.
    package let sum: Int

    package var count: Int { counts.reduce(0, +) }

    /// A bound that `fraction` (0 to 1) of the values do not exceed; nil when there are none.
    package func quantile(_ fraction: Double) -> Int? {
        let count = count
        guard count > 0 else { return nil }
        let rank = max(1, min(count, Int((Double(count) * fraction).rounded(.up))))
        var seen = 0
        for (bucket, occurrences) in counts.enumerated() {
            seen += occurrences
            if seen >= rank { return Histogram.upperBounds[bucket] }
        }
        return Histogram.upperBounds.last
    }
}
