import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage

/// The server's name for a request, for support. Not to be shown where it is the secret of an upload session; there
/// `RequestRunner` takes it out of the reply.
let requestIDField = "x-guploader-uploadid"

/// Sends operations: adds credentials and identity, retries what may be retried, turns refusals into errors.
struct RequestRunner: Sendable {
    let endpoint: StorageEndpoint
    let credentials: GoogleCredentials
    let transport: any HTTPTransport
    let time: any TimeSource
    let options: StorageOptions
    /// When a read of a range last got bytes, in the monotonic clock's nanoseconds; shared by all reads of the store.
    let lastBytes = SharedMoment()

    /// The reply, with a status below 300 or 308.
    ///
    /// - Throws: the refusal; `unavailable` or `rateLimited` when the deadline for retries is over.
    func run(_ request: StorageRequest) async throws(ObjectStoreError) -> HTTPResponse {
        try await outcome(request).result.get()
    }

    /// How it ended, and whether it may have been done more than once.
    func outcome(_ request: StorageRequest) async -> StorageOutcome {
        var attempts = AttemptLog(options, now: time.now(), subject: request.subject)
        var refusal: HTTPResponse?
        do throws(ObjectStoreError) {
            while true {
                let wasAmbiguous = attempts.wasAmbiguous
                let authorization = try await self.authorization(request.subject)
                attempts.started()
                let reply = await attempt(request, authorization, attempts)
                switch attempts.judge(reply, request.repeatability, hadAuthorization: authorization != nil) {
                case .succeeded(let response):
                    return StorageOutcome(result: .success(response), followsAmbiguity: wasAmbiguous)
                case .failed(let error):
                    refusal = try? reply.get()
                    throw error
                case .replayWithNewToken: authorization.map(credentials.invalidate)
                case .retry(let retryAfter, let isThrottle):
                    if isThrottle { options.onThrottle?() }
                    options.onRetry?()
                    try await pause(&attempts, retryAfter)
                }
            }
        } catch {
            return StorageOutcome(
                result: .failure(error),
                refusal: refusal,
                followsAmbiguity: attempts.wasAmbiguous
            )
        }
    }

    /// The header's value, or nil for anonymous access.
    func authorization(_ subject: String) async throws(ObjectStoreError) -> String? {
        guard endpoint.origin.mayReceiveSecrets || credentials.isAnonymous else {
            throw ObjectStoreError(
                .unauthenticated,
                "\(subject): credentials are not sent over \(endpoint.origin), which is not encrypted"
            )
        }
        do {
            return try await credentials.authorization()
        } catch {
            throw ObjectStoreError(credential: error, subject)
        }
    }

    /// The headers of every request.
    func decorate(_ headers: inout HTTPHeaders, _ authorization: String?, _ invocation: Invocation, attempt: Int) {
        if let authorization { headers.set("Authorization", authorization) }
        if let project = options.userProject ?? credentials.quotaProject {
            headers.set("x-goog-user-project", project)
        }
        invocation.addHeaders(to: &headers, attempt: attempt, userAgent: options.userAgent)
    }

    private func attempt(
        _ request: StorageRequest,
        _ authorization: String?,
        _ attempts: AttemptLog
    ) async -> Result<HTTPResponse, HTTPFailure> {
        var message = HTTPRequest(
            request.method,
            request.sessionURL ?? endpoint.origin.description + request.target,
            headers: request.headers,
            body: request.body
        )
        // "411 Length Required" answers a POST without a body and without its length.
        if message.body == nil, request.method != "GET", request.method != "DELETE" { message.body = ByteSegments() }
        decorate(&message.headers, authorization, attempts.invocation, attempt: attempts.backoff.attempts)
        do throws(HTTPFailure) {
            var response = try await transport.send(message, limit: request.replyLimit)
            if request.isOfUploadSession { response.head.headers.remove(requestIDField) }
            return .success(response)
        } catch {
            var failure = error
            if request.isOfUploadSession { failure.head?.headers.remove(requestIDField) }
            return .failure(failure)
        }
    }

    private func pause(_ attempts: inout AttemptLog, _ wish: Duration?) async throws(ObjectStoreError) {
        let random = Double.random(in: 0...1)
        guard let pause = attempts.backoff.pause(now: time.now(), retryAfter: wish, random: random) else {
            throw attempts.exhausted()
        }
        do {
            try await time.sleep(for: pause)
        } catch {
            throw ObjectStoreError(.cancelled, "\(attempts.subject): cancelled")
        }
    }
}

/// What became of the attempts so far, and what comes next: the rules without I/O.
struct AttemptLog: Sendable {
    enum Next: Sendable {
        case succeeded(HTTPResponse)
        case failed(ObjectStoreError)
        case replayWithNewToken
        case retry(after: Duration?, isThrottle: Bool)
    }

    let invocation = Invocation()
    let subject: String
    private(set) var wasAmbiguous = false
    var backoff: Backoff
    private var hasReplayed = false
    private var lastError: ObjectStoreError?

    init(_ options: StorageOptions, firstPause: Duration = .seconds(1), now: MonotonicInstant, subject: String) {
        self.subject = subject
        backoff = Backoff(
            patience: options.retryDeadline,
            firstPause: firstPause,
            longestPause: options.longestPause,
            now: now
        )
    }

    mutating func started() { backoff.attemptStarted() }

    mutating func judge(
        _ outcome: Result<HTTPResponse, HTTPFailure>,
        _ repeatability: Repeatability,
        hadAuthorization: Bool
    ) -> Next {
        switch outcome {
        case .failure(let failure):
            lastError = ObjectStoreError(transport: failure, subject)
            return next(RetryPolicy.verdict(failure: failure.code, repeatability), retryAfter: nil, isThrottle: false)
        case .success(let response):
            let reply = ErrorReply(status: response.status, body: response.status < 400 ? [] : response.body)
            let verdict = RetryPolicy.verdict(
                status: response.status,
                isThrottle: reply.isThrottle,
                repeatability
            )
            if verdict == .succeeded { return .succeeded(response) }
            lastError = reply.error(subject, requestID: response.headers[requestIDField])
            if response.status == 401, hadAuthorization, !hasReplayed {
                hasReplayed = true
                return .replayWithNewToken
            }
            let isThrottle = reply.isThrottle || response.status == 503
            return next(verdict, retryAfter: response.headers.retryAfter, isThrottle: isThrottle)
        }
    }

    /// The last error, as one that was tried often enough.
    func exhausted() -> ObjectStoreError {
        var error = lastError ?? ObjectStoreError(.unavailable, subject)
        error.message += " (gave up after \(backoff.attempts) attempts)"
        return error
    }

    private mutating func next(_ verdict: RetryVerdict, retryAfter: Duration?, isThrottle: Bool) -> Next {
        if case .retry(let isAmbiguous) = verdict {
            if isAmbiguous { wasAmbiguous = true }
            return .retry(after: retryAfter, isThrottle: isThrottle)
        }
        return .failed(lastError ?? ObjectStoreError(.internal, subject))
    }
}

extension ObjectStoreError {
    init(transport failure: HTTPFailure, _ subject: String) {
        let code: Code =
            switch failure.code {
            case .cancelled: .cancelled
            case .deadlineExceeded: .deadlineExceeded
            case .bodyTooLong, .protocolViolation: .protocolViolation
            case .invalidRequest: .invalidRequest
            case .engineClosed: .internal
            case .tls: .unavailable
            default: .unavailable
            }
        self.init(code, "\(subject): \(failure.message)", requestID: failure.head?.headers[requestIDField])
    }

    init(credential error: CredentialError, _ subject: String) {
        switch error.code {
        case .cancelled: self.init(.cancelled, "\(subject): cancelled")
        case .unavailable: self.init(.unavailable, "\(subject): no access token for now: \(error.message)")
        case .notFound, .invalid, .refused: self.init(.unauthenticated, "\(subject): \(error.message)")
        }
    }
}
