import LinuxPlatform

/// When a failed attempt is made again: exponential waits with full jitter, an end to attempts without progress.
package struct RetryPolicy: Sendable {
    /// Attempts in a row that brought not one new byte.
    package var attempts = 6
    package var firstWait: Duration = .seconds(1)
    package var longestWait: Duration = .seconds(16)
    /// Refreshes of a signed URL in a row that brought not one new byte.
    package var refreshes = 3
    package init() {}

    /// The statuses that say "again later" (huggingface_hub, `http_backoff`).
    package static func isTransient(status: Int) -> Bool { [408, 429, 500, 502, 503, 504].contains(status) }

    /// The wait after the failed attempt number `failed`, counted from 1.
    ///
    /// - Parameter random: from 0 up to 1.
    package func wait(afterFailure failed: Int, random: Double) -> Duration {
        let doublings = min(max(failed - 1, 0), 20)
        let ceiling = min(longestWait, firstWait * (1 << doublings))
        // Half of it is certain, so that "again" is never "at once".
        return .nanoseconds(Int64(Double(ceiling.inNanoseconds) * (0.5 + 0.5 * min(max(random, 0), 1))))
    }
}

/// A wait that the server asked for (RFC 9110, section 10.2.3: whole seconds), held at an hour.
func retryAfter(_ text: String?) -> Duration? {
    guard let text, let seconds = Int(trimmed(text)), seconds >= 0 else { return nil }
    return .seconds(min(seconds, 3600))
}
