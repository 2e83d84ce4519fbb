package import LinuxPlatform

// How many requests should be on their way at once.
//
// Throughput is measured over rounds of as many completions as the limit allows. While a round moved noticeably more
// bytes per second than the best so far, the limit grows by a quarter; when two rounds brought nothing it goes back to
// where the best was seen and stays for a while, then tries again. A request to slow down (429, 503) halves it at once
// and forbids growth for some time; of several such replies that were on their way together only one counts.

/// The limit on concurrent requests, from what they achieve. No clock, no locks: the caller says what time it is.
package struct AdaptiveConcurrency: Sendable {
    package let minimum: Int
    package let maximum: Int
    /// The number of requests that may be on their way now.
    package private(set) var limit: Int

    private var roundStart: MonotonicInstant
    private var roundBytes = 0
    private var roundCompletions = 0
    private var best = (rate: 0.0, limit: 1)
    private var roundsWithoutGain = 0
    private var quietUntil: MonotonicInstant

    /// Less than this is noise.
    private static let noticeableGain = 1.05
    private static let restAfterPlateau = Duration.seconds(10)
    private static let restAfterThrottle = Duration.seconds(10)
    private static let throttleGrouping = Duration.seconds(1)
    private var lastThrottle: MonotonicInstant?

    package init(minimum: Int = 2, initial: Int = 8, maximum: Int, now: MonotonicInstant) {
        precondition(minimum >= 1 && maximum >= 1)
        self.maximum = maximum
        self.minimum = min(minimum, maximum)
        limit = min(max(initial, self.minimum), maximum)
        roundStart = now
        quietUntil = now
    }

    /// A request ended well after moving `bytes`.
    package mutating func completed(bytes: Int, now: MonotonicInstant) {
        roundBytes += bytes
        roundCompletions += 1
        guard roundCompletions >= limit * 2 else { return }
        let seconds = max(roundStart.duration(to: now).inSeconds, 1e-6)
        let rate = Double(roundBytes) / seconds
        defer { startRound(now) }
        guard now >= quietUntil else {
            // A rate that was reached while resting at a lower limit is the new mark.
            best = (rate, limit)
            return
        }
        if rate > best.rate * Self.noticeableGain {
            best = (rate, limit)
            roundsWithoutGain = 0
            limit = min(maximum, limit + max(1, limit / 4))
        } else {
            roundsWithoutGain += 1
            if roundsWithoutGain >= 2 {
                limit = min(max(best.limit, minimum), maximum)
                best.rate = rate
                roundsWithoutGain = 0
                quietUntil = now.advanced(by: Self.restAfterPlateau)
            }
        }
    }

    /// The server asked to slow down.
    package mutating func throttled(now: MonotonicInstant) {
        if let lastThrottle, lastThrottle.duration(to: now) < Self.throttleGrouping { return }
        lastThrottle = now
        limit = max(minimum, limit / 2)
        best = (0, limit)
        quietUntil = now.advanced(by: Self.restAfterThrottle)
        startRound(now)
    }

    private mutating func startRound(_ now: MonotonicInstant) {
        roundStart = now
        roundBytes = 0
        roundCompletions = 0
    }
}
