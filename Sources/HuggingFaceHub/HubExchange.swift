import HTTPEngine
import LinuxPlatform
import Telemetry

/// One call to the Hub, redirects and retries included.
struct HubCall: Sendable {
    var method = "GET"
    var url: String
    var bucket: RateLimitBucket
    var subject: HubSubject
    var deadline: MonotonicInstant
    /// Of the reply, in bytes.
    var limit: Int
    /// A redirect to another host is the answer, not a step.
    var stopsAtForeignHost = false
}

/// The last reply of a call.
struct HubReply: Sendable {
    var response: HTTPResponse
    /// Which URL answered.
    var url: String
    /// Where the reply points on another host, absolute.
    var foreignLocation: String?
}

/// A failed attempt, and what to do about it.
struct AttemptFailure: Error {
    var error: HubError
    /// The server's wish, where it had one.
    var retryAfter: Duration?
    /// The limiter waits already.
    var isPaused = false
    /// The retries are used up already.
    var isFinal = false
}

extension HubClient {
    /// Makes a call until it succeeds, fails for good, or its time is up.
    func perform(_ call: HubCall) async throws(HubError) -> HubReply {
        var failures = 0
        while true {
            let failure: AttemptFailure
            do throws(AttemptFailure) {
                return try await follow(call)
            } catch {
                failure = error
            }
            failures += failure.isPaused ? 0 : 1
            try await pause(after: failure, failures: failures, deadline: call.deadline)
        }
    }

    /// Waits before another attempt; throws the failure when there is none.
    func pause(after failure: AttemptFailure, failures: Int, deadline: MonotonicInstant) async throws(HubError) {
        var error = failure.error
        guard !failure.isFinal, error.code == .unavailable || failure.isPaused else { throw error }
        if failure.isPaused {
            metrics.retries.add()
            return
        }
        guard failures < configuration.retry.attempts else {
            error.message += " Gave up after \(failures) attempts."
            throw error
        }
        let wait = configuration.retry.wait(
            afterFailures: failures,
            retryAfter: failure.retryAfter,
            random: random()
        )
        guard time.now().advanced(by: wait) < deadline else {
            error.message += " No time is left for another attempt."
            throw error
        }
        metrics.retries.add()
        do throws(CancellationError) {
            try await time.sleep(for: wait)
        } catch {
            throw HubError(.cancelled, "cancelled while waiting to try again")
        }
    }

    /// One attempt: follows redirects among the Hub's own origins, the token with them.
    private func follow(_ call: HubCall) async throws(AttemptFailure) -> HubReply {
        var url = call.url
        for _ in 0...configuration.limits.redirects {
            let reply = try await exchange(call, url)
            guard isRedirect(reply.status) else {
                if (200..<300).contains(reply.status) { return HubReply(response: reply, url: url) }
                throw failure(of: reply.head, body: reply.body, subject: call.subject)
            }
            let target = try redirectTarget(reply.head, from: url, call.subject)
            if !scope.admits(target) {
                if call.stopsAtForeignHost { return HubReply(response: reply, url: url, foreignLocation: target) }
                throw AttemptFailure(
                    error: HubError(
                        .notAHub,
                        "\(call.subject.name): the Hub redirects to another host, which this call must not follow"
                    )
                )
            }
            url = target
        }
        throw AttemptFailure(error: tooManyRedirects(call.subject))
    }

    private func exchange(_ call: HubCall, _ url: String) async throws(AttemptFailure) -> HTTPResponse {
        try await admitted(call.bucket, call.deadline)
        var request = HTTPRequest(call.method, url, headers: headers(for: url))
        request.timeouts.deadline = call.deadline
        metrics.requests.add()
        let response: HTTPResponse
        do throws(HTTPFailure) {
            response = try await transport.send(request, limit: call.limit)
        } catch {
            throw AttemptFailure(error: classify(error, subject: call.subject))
        }
        limiter.record(call.bucket, response.head)
        noteWarnings(response.headers)
        return response
    }

    func admitted(_ bucket: RateLimitBucket, _ deadline: MonotonicInstant) async throws(AttemptFailure) {
        do throws(HubError) {
            try await limiter.admit(bucket, deadline: deadline)
        } catch {
            throw AttemptFailure(error: error)
        }
    }

    /// What every request carries; the token only where it may go.
    func headers(for url: String) -> HTTPHeaders {
        // Identity, also for JSON: with gzip a storage host may ignore a range and answer with the whole file.
        var headers: HTTPHeaders = [("User-Agent", configuration.userAgent), ("Accept-Encoding", "identity")]
        if let token = configuration.token, scope.admits(url) {
            headers.append("Authorization", "Bearer \(token.secret)")
        }
        return headers
    }

    func failure(of head: HTTPResponseHead, body: [UInt8], subject: HubSubject) -> AttemptFailure {
        AttemptFailure(
            error: classify(head, body: body, subject: subject),
            retryAfter: head.headers.retryAfter,
            isPaused: head.status == 429
        )
    }

    func redirectTarget(
        _ head: HTTPResponseHead,
        from url: String,
        _ subject: HubSubject
    ) throws(AttemptFailure) -> String {
        guard let target = head.headers["location"].flatMap({ WebOrigin.resolve($0, against: url) }) else {
            throw AttemptFailure(
                error: HubError(
                    .notAHub,
                    "\(subject.name): a redirect leads nowhere",
                    status: head.status,
                    requestID: requestID(of: head.headers)
                )
            )
        }
        return target
    }

    func tooManyRedirects(_ subject: HubSubject) -> HubError {
        HubError(.notAHub, "\(subject.name): more than \(configuration.limits.redirects) redirects")
    }
}

func isRedirect(_ status: Int) -> Bool { [301, 302, 303, 307, 308].contains(status) }
