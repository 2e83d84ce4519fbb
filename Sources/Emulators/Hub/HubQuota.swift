import LinuxPlatform

/// The Hub's rate limits: so many requests per caller and bucket in a fixed window.
///
/// Source: hub-docs, "Rate limits", and the IETF draft of the RateLimit header fields.
package struct HubQuota: Sendable {
    /// Requests allowed in a window.
    package struct Limit: Sendable, Equatable {
        package var requests: Int
        package var windowSeconds: Int

        package init(requests: Int, windowSeconds: Int) {
            self.requests = requests
            self.windowSeconds = windowSeconds
        }
    }

    /// What a request is told.
    struct Verdict: Equatable {
        let isAllowed: Bool
        let headers: [String: String]
    }

    private struct Window {
        var started: UnixTime
        var used: Int
    }

    /// By bucket: `api`, `resolvers`. A bucket without a limit tells nothing.
    package var limits: [String: Limit] = [:]
    private var windows: [String: Window] = [:]

    package init() {}

    /// Counts a request.
    mutating func count(_ bucket: String, caller: String, now: UnixTime) -> Verdict {
        guard let limit = limits[bucket] else { return Verdict(isAllowed: true, headers: [:]) }
        let key = "\(bucket) \(caller)"
        let length = Duration.seconds(limit.windowSeconds)
        var window = windows[key] ?? Window(started: now, used: 0)
        if window.started.duration(to: now) >= length { window = Window(started: now, used: 0) }
        let isAllowed = window.used < limit.requests
        if isAllowed { window.used += 1 }
        windows[key] = window
        let left = max(0, Int(now.duration(to: window.started.advanced(by: length)).inSeconds.rounded(.up)))
        return Verdict(
            isAllowed: isAllowed,
            headers: [
                "RateLimit": "\"\(bucket)\";r=\(limit.requests - window.used);t=\(left)",
                "RateLimit-Policy": "\"fixed window\";\"\(bucket)\";q=\(limit.requests);w=\(limit.windowSeconds)",
            ]
        )
    }
}
