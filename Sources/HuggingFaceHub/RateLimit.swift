package import HTTPEngine
package import LinuxPlatform

/// Which of the Hub's quotas a request counts against.
package enum RateLimitBucket: String, Sendable, CaseIterable {
    /// `/api/…`, except what `/resolve/` redirects to.
    case api
    /// `/…/resolve/…` and `/api/resolve-cache/…`.
    case resolvers
}

/// What a `RateLimit` header says: `"api";r=12;t=55`.
///
/// Source: IETF draft-ietf-httpapi-ratelimit-headers; huggingface_hub reads the same three values.
package struct RateLimitReport: Equatable, Sendable {
    package let bucket: String
    /// Requests left in the window.
    package let remaining: Int
    /// Seconds until the window ends.
    package let resetSeconds: Int

    /// Nil when the text has another form.
    package init?(_ text: String) {
        guard text.utf8.count <= 1024, text.first == "\"" else { return nil }
        let parts = text.split(separator: ",", maxSplits: 1)[0].split(separator: ";").map(trimmed)
        guard let name = parts.first, name.utf8.count >= 3, name.hasSuffix("\"") else { return nil }
        var values: [String: Int] = [:]
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1).map(trimmed)
            if pair.count == 2, let value = Int(pair[1]), value >= 0 { values[pair[0]] = value }
        }
        guard let remaining = values["r"], let reset = values["t"] else { return nil }
        bucket = String(name.dropFirst().dropLast())
        self.remaining = remaining
        resetSeconds = reset
    }
}

/// When the next request may go, for all workers together: a state machine without a clock.
package struct RateLimitState: Sendable {
    package enum Admission: Equatable, Sendable {
        /// Send now; counted.
        case go
        /// Ask again then. `isNews` is true for the first one who has to wait for this pause.
        case wait(until: MonotonicInstant, isNews: Bool)
    }

    private struct Window {
        var remaining: Int
        var ends: MonotonicInstant
    }

    private struct Bucket {
        var window: Window?
        var pausedUntil: MonotonicInstant?
        var wasReported = false
        var nextPaced: MonotonicInstant?
    }

    /// The longest pause that a server can impose.
    package static let longestPause: Duration = .seconds(3600)
    private let workers: Int
    private var buckets: [RateLimitBucket: Bucket] = [:]

    /// - Parameter workers: requests in flight at most; with fewer left in the window, the rest is spread over it.
    package init(workers: Int) { self.workers = max(1, workers) }

    /// May a request go now?
    package mutating func admit(_ name: RateLimitBucket, now: MonotonicInstant) -> Admission {
        var bucket = buckets[name, default: Bucket()]
        defer { buckets[name] = bucket }
        if let until = bucket.pausedUntil {
            if now < until {
                defer { bucket.wasReported = true }
                return .wait(until: until, isNews: !bucket.wasReported)
            }
            bucket.pausedUntil = nil
            bucket.wasReported = false
        }
        guard let window = bucket.window, now < window.ends else {
            bucket.window = nil
            bucket.nextPaced = nil
            return .go
        }
        if window.remaining <= 0 {
            bucket.pausedUntil = window.ends
            bucket.window = nil
            bucket.wasReported = true
            return .wait(until: window.ends, isNews: true)
        }
        if window.remaining < workers {
            if let next = bucket.nextPaced, now < next { return .wait(until: next, isNews: false) }
            let interval = now.duration(to: window.ends) / (window.remaining + 1)
            bucket.nextPaced = now.advanced(by: interval)
        }
        bucket.window?.remaining -= 1
        return .go
    }

    /// Learns from a reply.
    package mutating func record(
        _ name: RateLimitBucket,
        status: Int,
        headers: HTTPHeaders,
        now: MonotonicInstant
    ) {
        let report = headers["ratelimit"].flatMap(RateLimitReport.init)
        let target = report.flatMap { RateLimitBucket(rawValue: $0.bucket) } ?? name
        var bucket = buckets[target, default: Bucket()]
        defer { buckets[target] = bucket }
        if let report {
            let wait = min(Self.longestPause, .seconds(min(report.resetSeconds, 3600) + 1))
            let ends = now.advanced(by: wait)
            if let window = bucket.window, now < window.ends, window.ends.duration(to: ends) < .seconds(5) {
                // The same window: replies arrive out of order, so the smaller count is the newer one.
                bucket.window = Window(remaining: min(window.remaining, report.remaining), ends: ends)
            } else {
                bucket.window = Window(remaining: report.remaining, ends: ends)
            }
        }
        guard status == 429 else { return }
        let pause: Duration =
            if let report, report.remaining == 0 {
                .seconds(min(report.resetSeconds, 3600) + 1)
            } else if let asked = headers.retryAfter {
                asked + .seconds(1)
            } else { .seconds(5) }
        let until = now.advanced(by: min(pause, Self.longestPause))
        if bucket.pausedUntil.map({ $0 < until }) ?? true {
            // A few replies of one burst move the end by moments; that is no second pause to tell of.
            let isSame = bucket.pausedUntil.map { $0.duration(to: until) < .seconds(5) } ?? false
            bucket.pausedUntil = until
            bucket.wasReported = isSame && bucket.wasReported
        }
    }
}

/// A pause that somebody should hear of.
package struct RateLimitWait: Sendable {
    package let bucket: RateLimitBucket
    package let until: UnixTime
    package let duration: Duration
    /// Anonymous callers have the smallest quotas: say that a token helps.
    package let isAnonymous: Bool
}

/// The one limiter that all workers of a client share.
package final class RateLimiter: Sendable {
    private let state: Lock<RateLimitState>
    private let time: any TimeSource
    private let isAnonymous: Bool
    private let onWait: @Sendable (RateLimitWait) -> Void

    /// - Parameter onWait: called once per pause, before the first worker waits for it.
    package init(
        workers: Int,
        time: any TimeSource,
        isAnonymous: Bool,
        onWait: @escaping @Sendable (RateLimitWait) -> Void
    ) {
        state = Lock(RateLimitState(workers: workers))
        self.time = time
        self.isAnonymous = isAnonymous
        self.onWait = onWait
    }

    /// Returns when a request may go.
    ///
    /// - Throws: `rateLimited` when that is after the deadline, `cancelled` with the task.
    func admit(_ bucket: RateLimitBucket, deadline: MonotonicInstant) async throws(HubError) {
        while true {
            let now = time.now()
            guard case .wait(let until, let isNews) = state.withLock({ $0.admit(bucket, now: now) }) else { return }
            let wait = now.duration(to: until)
            if isNews {
                onWait(
                    RateLimitWait(
                        bucket: bucket,
                        until: time.timeOfDay().advanced(by: wait),
                        duration: wait,
                        isAnonymous: isAnonymous
                    )
                )
            }
            guard until < deadline else {
                let hint = isAnonymous ? "; a token (HF_TOKEN) raises it" : ""
                let seconds = Int(wait.inSeconds.rounded(.up))
                throw HubError(
                    .rateLimited,
                    "the Hub's rate limit is used up for \(seconds) s, longer than there is time\(hint)"
                )
            }
            do throws(CancellationError) {
                try await time.sleep(for: wait)
            } catch {
                throw HubError(.cancelled, "cancelled while waiting for the Hub's rate limit")
            }
        }
    }

    func record(_ bucket: RateLimitBucket, _ head: HTTPResponseHead) {
        let now = time.now()
        state.withLock { $0.record(bucket, status: head.status, headers: head.headers, now: now) }
    }
}
