package import HTTPEngine

/// When a failed attempt is made again, and when no more: attempts without progress have an end.
package struct RetryPolicy: Sendable {
    /// Attempts in a row that brought not one new byte.
    package var attempts = 6
    package var backoff = ExponentialBackoff(longest: .seconds(16))
    /// Refreshes of a signed URL in a row that brought not one new byte.
    package var refreshes = 3
    /// A server's wish to wait longer than this is not honoured in full.
    package static let longestRetryAfter: Duration = .seconds(3600)

    package init() {}

    /// The statuses that say "again later" (huggingface_hub, `http_backoff`).
    package static func isTransient(status: Int) -> Bool { [408, 429, 500, 502, 503, 504].contains(status) }

    /// The wait after so many failures in a row.
    ///
    /// - Parameters:
    ///   - retryAfter: the server's wish, which counts where it had one.
    ///   - random: from 0 to 1.
    package func wait(afterFailures failures: Int, retryAfter: Duration?, random: Double) -> Duration {
        retryAfter.map { min($0, Self.longestRetryAfter) } ?? backoff.pause(afterFailures: failures, random: random)
    }
}
