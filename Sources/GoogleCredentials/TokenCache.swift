package import LinuxPlatform

/// When to use a token, when to renew it, and when to wait: the rules without tokens' origin, threads or clock.
///
/// A token is renewed once at a time. From `earlyBy` before its end it is renewed while the old one is still used; only
/// in the last `blockBelow` do callers wait. Source: the official clients' rule (stale at 225 s, blocked at 10 s).
package struct TokenCache: Sendable {
    /// What the caller of `request` does.
    package enum Step: Equatable, Sendable {
        /// Use the token; start a renewal besides if told to.
        case use(AccessToken, renew: Bool)
        /// Wait for the renewal; start it if told to.
        case wait(renew: Bool)
    }

    package static let earlyBy: Duration = .seconds(225)
    package static let blockBelow: Duration = .seconds(10)
    /// The metadata server hands out one token until minutes before its end: renewing in vain is not repeated at once.
    package static let pause: Duration = .seconds(10)

    package private(set) var token: AccessToken?
    package private(set) var isRenewing = false
    private var nextEarlyRenewal = MonotonicInstant(nanoseconds: .min)

    package init() {}

    package mutating func request(now: MonotonicInstant) -> Step {
        guard let token, usable(token, now) else {
            defer { isRenewing = true }
            return .wait(renew: !isRenewing)
        }
        guard !isRenewing, now >= nextEarlyRenewal, let expiry = token.expiry,
            now.duration(to: expiry) <= Self.earlyBy
        else { return .use(token, renew: false) }
        isRenewing = true
        return .use(token, renew: true)
    }

    /// The renewal gave a token: whoever waits gets it.
    package mutating func renewed(_ token: AccessToken, now: MonotonicInstant) {
        self.token = token
        isRenewing = false
        nextEarlyRenewal = now.advanced(by: Self.pause)
    }

    /// The renewal failed: whoever waits gets the error; a token that is still good stays.
    package mutating func failed(now: MonotonicInstant) {
        isRenewing = false
        nextEarlyRenewal = now.advanced(by: Self.pause)
    }

    /// The server refused this token: it is not used again. Another one that is already here stays.
    package mutating func invalidate(secret: String) {
        if token?.secret == secret { token = nil }
    }

    private func usable(_ token: AccessToken, _ now: MonotonicInstant) -> Bool {
        guard let expiry = token.expiry else { return true }
        return now.duration(to: expiry) > Self.blockBelow
    }
}
