import LinuxPlatform

/// Pauses between attempts: a random part of a bound that doubles with every failure. Full jitter.
///
/// Source: AWS Architecture Blog, "Exponential backoff and jitter".
package struct ExponentialBackoff: Sendable {
    /// The bound after the first failure.
    package var first: Duration
    /// What the bound never exceeds.
    package var longest: Duration

    package init(first: Duration = .seconds(1), longest: Duration) {
        self.first = first
        self.longest = longest
    }

    /// The pause after so many failures in a row.
    ///
    /// - Parameters:
    ///   - failures: counted from 1.
    ///   - random: from 0 to 1.
    package func pause(afterFailures failures: Int, random: Double) -> Duration {
        let doublings = min(max(failures, 1), 21) - 1
        let bound = min(longest, first * (1 << doublings))
        return .nanoseconds(Int64(Double(bound.inNanoseconds) * min(max(random, 0), 1)))
    }
}
