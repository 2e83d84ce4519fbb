package import HTTPEngine
package import LinuxPlatform

/// An `HTTPTransport` without a network: each request is answered by a script, at once and on the caller's thread.
package final class ScriptedTransport: HTTPTransport {
    /// What becomes of a request.
    package enum Step: Sendable {
        case reply(Int, HTTPHeaders = [], [UInt8] = [])
        /// No reply comes.
        case failure(HTTPFailure.Code)
        /// The connection is lost after so many bytes of the body.
        case brokenBody(Int, HTTPHeaders, [UInt8], after: Int)
        /// A download that never ends by itself; only cancelling ends it.
        case hang

        package static func text(_ status: Int, _ text: String) -> Step { .reply(status, [], Array(text.utf8)) }

        package static func text(_ status: Int, _ headers: HTTPHeaders, _ text: String) -> Step {
            .reply(status, headers, Array(text.utf8))
        }
    }

    private struct State {
        var requests: [HTTPRequest] = []
        var hanging: [Int: @Sendable () -> Void] = [:]
    }

    private let answer: @Sendable (HTTPRequest, Int) -> Step
    private let state = Lock(State())

    /// - Parameter answer: gets each request and how many came before it.
    package init(_ answer: @escaping @Sendable (HTTPRequest, Int) -> Step) { self.answer = answer }

    /// Answers in this order; a request too many fails with `invalidRequest`, which nobody retries.
    package convenience init(steps: [Step]) {
        self.init { _, index in index < steps.count ? steps[index] : .failure(.invalidRequest) }
    }

    /// All requests so far.
    package var requests: [HTTPRequest] { state.withLock { $0.requests } }

    private func next(_ request: HTTPRequest) -> (Step, Int) {
        let index = state.withLock { state in
            state.requests.append(request)
            return state.requests.count - 1
        }
        return (answer(request, index), index)
    }

    package func send(_ request: HTTPRequest, limit: Int) async throws(HTTPFailure) -> HTTPResponse {
        switch next(request).0 {
        case .reply(let status, let headers, let body):
            return try Self.response(status, headers, body, limit)
        case .failure(let code): throw HTTPFailure(code, "scripted \(code)")
        case .brokenBody(let status, let headers, _, _):
            let head = HTTPResponseHead(status: status, headers: headers)
            throw HTTPFailure(.connectionLost, "scripted loss", head: head)
        case .hang: throw HTTPFailure(.firstByteTimeout, "scripted hang")
        }
    }

    private static func response(
        _ status: Int,
        _ headers: HTTPHeaders,
        _ body: [UInt8],
        _ limit: Int
    ) throws(HTTPFailure) -> HTTPResponse {
        guard body.count <= limit else { throw HTTPFailure(.bodyTooLong, "scripted body too long") }
        return HTTPResponse(head: HTTPResponseHead(status: status, headers: headers), body: body)
    }

    @discardableResult
    package func download(
        _ download: HTTPDownload,
        completion: @escaping @Sendable (Result<HTTPDownloadResult, HTTPFailure>) -> Void
    ) -> HTTPCancellation {
        let (step, index) = next(download.request)
        switch step {
        case .reply(let status, let headers, let body):
            completion(Self.play(download, status, headers, body, body.count, .bodyTooShort))
        case .failure(let code): completion(.failure(HTTPFailure(code, "scripted \(code)")))
        case .brokenBody(let status, let headers, let body, let count):
            completion(Self.play(download, status, headers, body, count, .connectionLost))
        case .hang:
            state.withLock { state in
                state.hanging[index] = { completion(.failure(HTTPFailure(.cancelled, "scripted cancel"))) }
            }
        }
        return HTTPCancellation {
            let waiting = self.state.withLock { $0.hanging.removeValue(forKey: index) }
            waiting?()
        }
    }

    private static func play(
        _ download: HTTPDownload,
        _ status: Int,
        _ headers: HTTPHeaders,
        _ body: [UInt8],
        _ sent: Int,
        _ shortfall: HTTPFailure.Code
    ) -> Result<HTTPDownloadResult, HTTPFailure> {
        let head = HTTPResponseHead(status: status, headers: headers)
        switch download.decide(head) {
        case .collect(let limit):
            return .success(HTTPDownloadResult(head: head, delivered: 0, collected: Array(body.prefix(limit))))
        case .deliver(let count):
            let delivered = min(sent, count)
            deliver(body, delivered, download)
            if body.count > count, sent > count {
                return .failure(HTTPFailure(.bodyTooLong, "scripted body too long", delivered: delivered, head: head))
            }
            if delivered < count {
                return .failure(HTTPFailure(shortfall, "scripted short body", delivered: delivered, head: head))
            }
            return .success(HTTPDownloadResult(head: head, delivered: delivered, collected: []))
        }
    }

    /// In two pieces, so that what looks at pieces must join them.
    private static func deliver(_ body: [UInt8], _ count: Int, _ download: HTTPDownload) {
        let target = UnsafeMutableRawBufferPointer(rebasing: download.buffer.bytes[download.bufferOffset...])
        for piece in [0..<(count / 2), (count / 2)..<count] where !piece.isEmpty {
            let bytes = UnsafeMutableRawBufferPointer(rebasing: target[piece])
            bytes.copyBytes(from: body[piece])
            download.tap?(piece.lowerBound, UnsafeRawBufferPointer(bytes))
        }
    }
}

/// Time that stands still until somebody sleeps: a sleep ends at once and moves the clock.
package final class LeapingTime: TimeSource {
    private let state: Lock<(elapsed: Duration, sleeps: [Duration])>
    private let start: UnixTime

    package init(start: UnixTime = UnixTime(seconds: 1_800_000_000)) {
        self.start = start
        state = Lock((.zero, []))
    }

    /// Every sleep so far.
    package var sleeps: [Duration] { state.withLock { $0.sleeps } }

    package func now() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000).advanced(by: state.withLock { $0.elapsed })
    }
    package func timeOfDay() -> UnixTime { start.advanced(by: state.withLock { $0.elapsed }) }

    package func advance(by duration: Duration) { state.withLock { $0.elapsed += duration } }

    package func sleep(for duration: Duration) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        state.withLock { state in
            state.elapsed += duration
            state.sleeps.append(duration)
        }
        await Task.yield()
    }
}
