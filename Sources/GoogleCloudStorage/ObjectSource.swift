import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage

/// The ranges of one generation of an object.
final class ObjectSource: RangedSource {
    let size: Int
    let label: String
    private let runner: RequestRunner
    private let target: String
    private let generation: Generation
    private let contentEncoding: String?

    /// - Parameter target: the object's media, with its generation.
    init(_ attributes: ObjectAttributes, target: String, subject: String, runner: RequestRunner) {
        size = attributes.size
        label = "\(subject)#\(attributes.generation)"
        generation = attributes.generation
        contentEncoding = attributes.contentEncoding
        self.target = target
        self.runner = runner
    }

    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        guard read.range.end <= size else {
            completion(
                .failure(
                    ObjectStoreError(.outOfRange, "\(label): it has \(size) bytes, and \(read.range) were asked for")
                )
            )
            return ReadCancellation {}
        }
        if read.range.count == 0 {
            completion(.success(()))
            return ReadCancellation {}
        }
        let reading = Reading(read, of: self, completion)
        reading.start()
        return ReadCancellation { reading.cancel() }
    }

    fileprivate func request(from offset: Int, count: Int, deadline: MonotonicInstant) -> HTTPRequest {
        let headers: HTTPHeaders = [
            // Without it the server may decompress what is stored compressed, and then ignores the range.
            ("Accept-Encoding", "gzip"), ("Range", "bytes=\(offset)-\(offset + count - 1)"),
        ]
        var timeouts = HTTPTimeouts()
        timeouts.deadline = deadline
        return HTTPRequest(
            "GET",
            runner.endpoint.origin.description + target,
            headers: headers,
            timeouts: timeouts
        )
    }

    fileprivate func expected(from offset: Int, count: Int) -> MediaReply {
        MediaReply(
            range: ByteRange(offset: offset, count: count),
            isRanged: true,
            size: size,
            generation: generation,
            contentEncoding: contentEncoding,
            subject: label
        )
    }
}

/// One read with its attempts.
private final class Reading: Sendable {
    private struct State {
        var progress: ReadProgress
        var attempts: AttemptLog
        var transfer: HTTPCancellation?
        /// When the attempt was begun since which no byte came.
        var fruitlessSince: MonotonicInstant?
    }

    private let read: RangeRead
    private let source: ObjectSource
    private let runner: RequestRunner
    private let completion: @Sendable (Result<Void, ObjectStoreError>) -> Void
    private let state: Lock<State>

    init(
        _ read: RangeRead,
        of source: ObjectSource,
        _ completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) {
        self.read = read
        self.source = source
        self.completion = completion
        runner = source.readRunner
        state = Lock(
            State(
                progress: ReadProgress(count: read.range.count),
                attempts: AttemptLog(
                    runner.options,
                    firstPause: runner.options.firstReadPause,
                    now: runner.time.now(),
                    subject: source.label
                )
            )
        )
    }

    func start() {
        // The waits of a token need a task of their own, so only those who wait pay for one.
        if runner.endpoint.origin.mayReceiveSecrets || runner.credentials.isAnonymous,
            case .header(let authorization) = runner.credentials.readyAuthorization()
        {
            return attempt(authorization)
        }
        Task {
            do throws(ObjectStoreError) {
                attempt(try await runner.authorization(source.label))
            } catch {
                finish(.failure(error))
            }
        }
    }

    func cancel() {
        let (step, transfer) = state.withLock { ($0.progress.cancel(), $0.transfer) }
        switch step {
        case .finish: finish(.failure(cancellation))
        case .stopTransfer: transfer?.cancel()
        case .nothing: break
        }
    }

    private var cancellation: ObjectStoreError {
        ObjectStoreError(.cancelled, "\(source.label): the read was cancelled")
    }

    private func attempt(_ authorization: String?) {
        let begun = state.withLock { state -> (number: Int, received: Int, invocation: Invocation)? in
            guard state.progress.begin() else { return nil }
            state.attempts.started()
            if state.fruitlessSince == nil { state.fruitlessSince = runner.time.now() }
            state.transfer = nil
            return (state.progress.attempt, state.progress.received, state.attempts.invocation)
        }
        guard let begun else { return }
        let offset = read.range.offset + begun.received
        let count = read.range.count - begun.received
        var request = source.request(from: offset, count: count, deadline: read.deadline)
        runner.decorate(&request.headers, authorization, begun.invocation, attempt: begun.number)
        let expected = source.expected(from: offset, count: count)
        let complaint = Lock<ObjectStoreError?>(nil)
        let tap = read.tap.map { tap -> @Sendable (Int, UnsafeRawBufferPointer) -> Void in
            { offset, bytes in tap(begun.received + offset, bytes) }
        }
        let notice = read.observer.map { observer -> @Sendable (DownloadNotice) -> Void in
            { notice in
                switch notice {
                case .sent: observer(.sent)
                case .behind: observer(.behind)
                }
            }
        }
        let place = read.bufferOffset + begun.received
        let download = HTTPDownload(request, into: read.buffer, at: place, tap: tap, notice: notice) { head in
            guard (200..<300).contains(head.status) else { return .collect(limit: 65_536) }
            switch expected.check(head) {
            case .success(let count): return .deliver(count: count)
            case .failure(let error):
                complaint.withLock { $0 = error }
                return .collect(limit: 0)
            }
        }
        let transfer = runner.transport.download(download) { result in
            self.ended(result, complaint.withLock { $0 }, authorization)
        }
        let isLate = state.withLock { state in
            guard state.progress.attempt == begun.number, state.progress.phase == .inFlight else { return false }
            state.transfer = transfer
            return state.progress.isCancelled
        }
        if isLate { transfer.cancel() }
    }

    private func ended(
        _ result: Result<HTTPDownloadResult, HTTPFailure>,
        _ complaint: ObjectStoreError?,
        _ authorization: String?
    ) {
        let delivered: Int
        let reply: Result<HTTPResponse, HTTPFailure>
        switch result {
        case .success(let result):
            delivered = result.delivered
            reply = .success(HTTPResponse(head: result.head, body: result.collected))
        case .failure(let failure):
            delivered = failure.delivered
            reply = .failure(failure)
        }
        if delivered > 0 { runner.lastBytes.note(runner.time.now()) }
        let next = state.withLock { state -> AttemptLog.Next? in
            state.progress.ended(delivered: delivered)
            state.transfer = nil
            let isTooLong = if case .failure(let failure) = reply { failure.code == .bodyTooLong } else { false }
            if state.progress.isComplete && !isTooLong || complaint != nil || state.progress.isCancelled { return nil }
            if delivered > 0 {
                state.attempts.backoff.progressed(now: runner.time.now())
                state.fruitlessSince = nil
            }
            return state.attempts.judge(reply, .always, hadAuthorization: authorization != nil)
        }
        guard let next else {
            let isComplete = complaint == nil && state.withLock { $0.progress.isComplete }
            return finish(isComplete ? .success(()) : .failure(complaint ?? cancellation))
        }
        follow(next, authorization, wentOn: delivered >= Self.progress)
    }

    /// An attempt that brought so many bytes before its connection was lost is followed by the next at once.
    private static let progress = 64 << 10

    private func follow(_ next: AttemptLog.Next, _ authorization: String?, wentOn: Bool) {
        switch next {
        case .succeeded:
            // A success that is neither complete nor complained about delivered less than it announced.
            finish(.failure(ObjectStoreError(.integrity, "\(source.label): the body ended early")))
        case .failed(var error):
            if error.code == .protocolViolation { error.code = .integrity }
            finish(.failure(error))
        case .replayWithNewToken:
            authorization.map(runner.credentials.invalidate)
            start()
        case .retry(let retryAfter, let isThrottle):
            if isThrottle { runner.options.onThrottle?() }
            runner.options.onRetry?()
            if wentOn { return start() }
            read.observer?(.paused(isThrottled: isThrottle))
            retry(after: retryAfter)
        }
    }

    private func retry(after wish: Duration?) {
        let now = runner.time.now()
        let random = Double.random(in: 0...1)
        let pause = state.withLock { state in
            let othersSucceed = state.fruitlessSince.map(runner.lastBytes.isSince) ?? false
            return state.attempts.backoff.pause(
                now: now,
                retryAfter: wish,
                othersSucceed: othersSucceed,
                random: random
            )
        }
        guard let pause else { return finish(.failure(state.withLock { $0.attempts.exhausted() })) }
        guard now.advanced(by: pause) < read.deadline else {
            let last = state.withLock { $0.attempts.exhausted() }
            return finish(.failure(ObjectStoreError(.deadlineExceeded, last.message, status: last.status)))
        }
        Task {
            do {
                try await runner.time.sleep(for: pause)
                start()
            } catch {
                finish(.failure(cancellation))
            }
        }
    }

    private func finish(_ result: Result<Void, ObjectStoreError>) {
        if state.withLock({ $0.progress.finish() }) { completion(result) }
    }
}

extension ObjectSource {
    fileprivate var readRunner: RequestRunner { runner }
}
