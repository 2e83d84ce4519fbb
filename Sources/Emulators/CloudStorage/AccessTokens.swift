package import LinuxPlatform

/// The access tokens that the emulator issued.
package final class AccessTokens: Sendable {
    private struct State {
        var isRequired: Bool
        var issued: [String: UnixTime] = [:]
        var count = 0
    }

    private let state: Lock<State>
    private let time: any TimeSource

    package init(isRequired: Bool, time: any TimeSource = SystemTime()) {
        state = Lock(State(isRequired: isRequired))
        self.time = time
    }

    /// Whether a request without a valid token is refused.
    package var isRequired: Bool {
        get { state.withLock { $0.isRequired } }
        set { state.withLock { $0.isRequired = newValue } }
    }

    /// A new token.
    ///
    /// - Parameter lifetime: how long it is accepted.
    package func issue(lifetime: Duration = .seconds(3600)) -> String {
        let expiry = time.timeOfDay().advanced(by: lifetime)
        let token = "ya29.emulator-\(randomIdentifier())"
        state.withLock { state in
            state.count += 1
            state.issued[token] = expiry
        }
        return token
    }

    /// How many were issued so far.
    package var issuedCount: Int { state.withLock { $0.count } }

    /// Makes every token that was issued so far invalid.
    package func expireAll() { state.withLock { $0.issued = [:] } }

    /// Makes one token invalid; those that others hold stay good.
    package func expire(_ token: String) { state.withLock { $0.issued[token] = nil } }

    /// Whether the value of an `Authorization` field lets a request pass.
    func accepts(_ authorization: String?) -> Bool {
        let now = time.timeOfDay()
        return state.withLock { state in
            guard state.isRequired else { return true }
            guard let authorization, authorization.hasPrefix("Bearer "),
                let expiry = state.issued[String(authorization.dropFirst(7))]
            else { return false }
            return now < expiry
        }
    }
}
