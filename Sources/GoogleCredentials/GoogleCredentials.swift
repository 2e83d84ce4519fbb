import LinuxPlatform

/// What authenticates requests to Google Cloud: a token that is always fresh, made of one credential.
///
/// Safe to call from anywhere at once: tokens are renewed one at a time (see `TokenCache`).
package final class GoogleCredentials: Sendable, CustomStringConvertible {
    private typealias Waiter = CheckedContinuation<Result<AccessToken, CredentialError>, Never>

    private struct State {
        var cache = TokenCache()
        var waiters: [Int: Waiter] = [:]
        /// Those who gave up before they began to wait.
        var cancelled: Set<Int> = []
        var nextWaiter = 0
    }

    /// No credentials: for public buckets and emulators.
    package static let anonymous = GoogleCredentials(nil, quotaProject: nil, time: SystemTime())

    /// The project that requests are billed to, `x-goog-user-project`; nil for the bucket's own.
    package let quotaProject: String?
    private let provider: (any TokenProvider)?
    private let time: any TimeSource
    private let state = Lock(State())

    init(_ provider: (any TokenProvider)?, quotaProject: String?, time: any TimeSource) {
        self.provider = provider
        self.quotaProject = quotaProject
        self.time = time
    }

    /// Which credential, for whom, and where it was found. Free of secrets.
    package var description: String { provider?.label ?? "anonymous" }

    package var isAnonymous: Bool { provider == nil }

    /// The value of the `Authorization` header, or nil for anonymous access. Waits only while there is no usable token.
    package func authorization() async throws(CredentialError) -> String? {
        guard let provider else { return nil }
        if !provider.isCurrent() { forgetToken() }
        let step = state.withLock { $0.cache.request(now: time.now()) }
        switch step {
        case .use(let token, let renew):
            if renew { startRenewal(provider) }
            return "Bearer \(token.secret)"
        case .wait(let renew):
            return "Bearer \(try await wait(provider, renewing: renew).secret)"
        }
    }

    /// The server answered 401 to this header value: it is not used again.
    package func invalidate(_ authorization: String) {
        guard authorization.hasPrefix("Bearer ") else { return }
        state.withLock { $0.cache.invalidate(secret: String(authorization.dropFirst(7))) }
    }

    private func forgetToken() {
        state.withLock { state in
            if let token = state.cache.token { state.cache.invalidate(secret: token.secret) }
        }
    }

    /// In a task of its own: whoever asked first may be cancelled, and others wait for the same token.
    private func startRenewal(_ provider: any TokenProvider) {
        Task {
            let result: Result<AccessToken, CredentialError>
            do throws(CredentialError) {
                result = .success(try await provider.fetch())
            } catch {
                result = .failure(error)
            }
            finish(result)
        }
    }

    private func finish(_ result: Result<AccessToken, CredentialError>) {
        let now = time.now()
        let waiters = state.withLock { state in
            switch result {
            case .success(let token): state.cache.renewed(token, now: now)
            case .failure: state.cache.failed(now: now)
            }
            defer { state.waiters = [:] }
            return state.waiters.values.map { $0 }
        }
        for waiter in waiters { waiter.resume(returning: result) }
    }

    /// What a caller finds that was told to wait, once it can be told.
    private enum Admission {
        case over(Result<AccessToken, CredentialError>)
        case waiting
    }

    /// - Parameter isOurs: the renewal has not begun: this caller begins it.
    private func wait(
        _ provider: any TokenProvider,
        renewing isOurs: Bool
    ) async throws(CredentialError) -> AccessToken {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let result: Result<AccessToken, CredentialError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (admission, begins) = admit(id, continuation, isOurs)
                if case .over(let result) = admission { continuation.resume(returning: result) }
                if begins { startRenewal(provider) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                if let waiter = state.waiters.removeValue(forKey: id) { return Optional(waiter) }
                state.cancelled.insert(id)
                return nil
            }
            waiter?.resume(returning: .failure(Self.cancellation))
        }
        state.withLock { _ = $0.cancelled.remove(id) }
        return try result.get()
    }

    /// Takes a waiter in, unless the renewal that it was to wait for has ended meanwhile: nobody would tell it.
    private func admit(
        _ id: Int,
        _ continuation: CheckedContinuation<Result<AccessToken, CredentialError>, Never>,
        _ isOurs: Bool
    ) -> (Admission, begins: Bool) {
        let now = time.now()
        return state.withLock { state in
            if state.cancelled.remove(id) != nil { return (.over(.failure(Self.cancellation)), isOurs) }
            var begins = isOurs
            if !isOurs, !state.cache.isRenewing {
                switch state.cache.request(now: now) {
                case .use(let token, let renew): return (.over(.success(token)), renew)
                case .wait(let renew): begins = renew
                }
            }
            state.waiters[id] = continuation
            return (.waiting, begins)
        }
    }

    private static let cancellation = CredentialError(.cancelled, "cancelled while waiting for an access token")
}

extension GoogleCredentials {
    /// What can be said without waiting.
    package enum ReadyAuthorization: Sendable, Equatable {
        /// The header's value; nil for anonymous access.
        case header(String?)
        /// A token must be fetched first: use `authorization()`.
        case notYet
    }

    /// The header's value if it is at hand: for paths where every task counts. Renews in the background as usual.
    package func readyAuthorization() -> ReadyAuthorization {
        guard let provider else { return .header(nil) }
        if !provider.isCurrent() { return .notYet }
        let step = state.withLock { state -> TokenCache.Step? in
            // Asked of a copy: a request that would have to wait must not mark a renewal as begun.
            var cache = state.cache
            let step = cache.request(now: time.now())
            guard case .use = step else { return nil }
            state.cache = cache
            return step
        }
        guard case .use(let token, let renew)? = step else { return .notYet }
        if renew { startRenewal(provider) }
        return .header("Bearer \(token.secret)")
    }
}
