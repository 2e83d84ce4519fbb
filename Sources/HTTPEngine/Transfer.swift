import CCurl
import LinuxPlatform

/// One request on its way through a loop: what libcurl's callbacks read and change.
///
/// It is made by the submitter, handed over through the loop's mailbox, and from then on touched by the loop's thread
/// alone.
final class Transfer: @unchecked Sendable {  // owned by one thread at a time, as said above
    typealias Completion = @Sendable (Result<HTTPDownloadResult, HTTPFailure>) -> Void

    /// Where the body of the reply goes.
    enum Target: Sendable {
        case download(HTTPDownload)
        case array(limit: Int)
    }

    let id: UInt64
    private(set) var request: HTTPRequest
    private var target: Target?
    private let completion: Completion
    private let alarm: LoopAlarm

    private var parser = ReplyHeadParser()
    private(set) var head: HTTPResponseHead?
    private var sink: BodySink
    private(set) var cursor: BodyCursor
    private(set) var clock: TransferClock
    /// Set when a callback ends the transfer: the reason, or that the caller has all it wanted.
    private var verdict: Verdict?
    private(set) var wasConnected = false
    /// Bytes of the reply: headers and body.
    private(set) var received = 0

    private enum Verdict {
        case enough
        case failure(HTTPFailure.Code, String)
    }

    init(id: UInt64, _ request: HTTPRequest, _ target: Target, alarm: LoopAlarm, completion: @escaping Completion) {
        self.id = id
        self.request = request
        self.target = target
        self.alarm = alarm
        self.completion = completion
        let body = request.body ?? ByteSegments()
        cursor = BodyCursor(body)
        clock = TransferClock(request.timeouts, bodyCount: body.count)
        if case .download(let download) = target {
            sink = BodySink(tap: download.tap)
        } else {
            sink = BodySink()
        }
    }

    /// Whether its body goes into memory of the caller's.
    var isDownload: Bool { if case .download = target { true } else { false } }

    // MARK: What libcurl tells

    /// The request goes out on a connection; false to keep it from going out.
    ///
    /// libcurl sends a request again by itself when a reused connection ends without a byte of reply. The server may have
    /// carried out the first one by then, so only what reads is let through twice: for the rest that is the caller's to
    /// decide, who alone knows whether a repetition does harm.
    func connected() -> Bool {
        if wasConnected, request.method != "GET", request.method != "HEAD" {
            verdict = .failure(.connectionLost, "the connection was lost before the reply")
            return false
        }
        wasConnected = true
        changeClock { $0.connected(at: now()) }
        if case .download(let download) = target { download.notice?(.sent) }
        return true
    }

    /// Its bytes wait for this machine more than it waits for them.
    func behind() {
        if case .download(let download) = target { download.notice?(.behind) }
    }

    /// What a header line was.
    enum HeaderStep {
        case more
        /// The head's last: `decideOnBody` is next.
        case complete(HTTPResponseHead)
        case abort
    }

    /// A header line.
    func takeHeader(_ line: UnsafeRawBufferPointer) -> HeaderStep {
        received += line.count
        switch parser.take(line) {
        case .more: return .more
        case .began:
            let received = received
            changeClock { $0.replyBegan(at: now(), received: received) }
            return .more
        case .head(let head):
            self.head = head
            return .complete(head)
        case .violation(let why):
            verdict = .failure(.protocolViolation, why)
            return .abort
        }
    }

    /// Whether the reply's version lets a connection be used again unless it says otherwise.
    var repliesPersistently: Bool { parser.isPersistentVersion }

    /// A piece of the body; false to abort.
    func takeBody(_ piece: UnsafeRawBufferPointer) -> Bool {
        received += piece.count
        return act(on: sink.take(piece))
    }

    /// Where the next bytes of the body belong, when that is memory of the caller's with room for more.
    var bodyPlace: UnsafeMutableRawBufferPointer? { sink.place }

    /// So many bytes were put into `bodyPlace`; false to abort.
    func bodyArrived(_ count: Int) -> Bool {
        received += count
        sink.placed(count)
        return true
    }

    /// Forgets a connection that brought nothing that counts: the request goes out again, on another one.
    func startOver() {
        parser = ReplyHeadParser()
        head = nil
        verdict = nil
        wasConnected = false
        received = 0
        changeClock { $0 = TransferClock(request.timeouts, bodyCount: 0) }
    }

    /// Fills `buffer` with the next bytes of the request's body.
    func readBody(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = cursor.read(into: buffer)
        if cursor.isAtEnd { changeClock { $0.bodyHandedOver(at: now()) } }
        return count
    }

    func seekBody(to offset: Int) -> Bool { cursor.seek(to: offset) }

    /// The head is there: says where the body goes; false to abort.
    func decideOnBody() -> Bool {
        guard let head else { return false }
        switch target {
        case nil: return false
        case .array(let limit): sink.collect(limit: limit, strictly: true)
        case .download(let download):
            switch download.decide(head) {
            case .collect(let limit): sink.collect(limit: limit, strictly: false)
            case .deliver(let count):
                let space = download.buffer.count - download.bufferOffset
                guard count >= 0, download.bufferOffset >= 0, count <= space else {
                    verdict = .failure(.invalidRequest, "the buffer has \(space) bytes for a body of \(count)")
                    return false
                }
                let range = download.bufferOffset..<download.bufferOffset + count
                sink.deliver(into: UnsafeMutableRawBufferPointer(rebasing: download.buffer.bytes[range]))
            }
        }
        let bodyFollows = request.method != "HEAD" && head.status != 204 && head.status != 304
        return act(on: bodyFollows ? sink.verdict(announced: head.contentLength ?? 0) : .more)
    }

    private func act(on sinkVerdict: BodySink.Verdict) -> Bool {
        switch sinkVerdict {
        case .more: return true
        case .enough: verdict = .enough
        case .tooLong: verdict = .failure(.bodyTooLong, "the body is longer than there is room for")
        }
        return false
    }

    // MARK: The end

    /// Whether a wait of the transfer has ended badly.
    func expired(at now: MonotonicInstant, sent: Int) -> HTTPFailure? {
        let received = received
        var expiry: TransferClock.Expiry?
        changeClock { expiry = $0.check(at: now, sent: sent, received: received) }
        let timeouts = request.timeouts
        switch expiry {
        case nil: return nil
        case .deadline: return failure(.deadlineExceeded, "not finished before its deadline")
        case .firstByte:
            return failure(.firstByteTimeout, "no reply within \(timeouts.firstByte.inSeconds) s of the request")
        case .stalled:
            let rate = "\(timeouts.minimumBytesPerSecond) bytes/s for \(timeouts.slowFor.inSeconds) s"
            return failure(.stalled, "slower than \(rate), with \(sent) bytes sent and \(received) received")
        }
    }

    /// What libcurl's result means for the caller.
    func outcome(_ result: CURLcode, _ end: CurlFailure.End) -> Result<HTTPDownloadResult, HTTPFailure> {
        switch verdict {
        case .failure(let code, let why): return .failure(failure(code, why))
        case .enough: return success()
        case nil: break
        }
        if result != CURLE_OK {
            let (code, why) = CurlFailure.meaning(of: result, end, wasConnected: wasConnected, hasHead: head != nil)
            return .failure(failure(code, why))
        }
        if sink.missing > 0 {
            return .failure(failure(.bodyTooShort, "the body ended \(sink.missing) bytes before its end"))
        }
        return success()
    }

    func failure(_ code: HTTPFailure.Code, _ why: String) -> HTTPFailure {
        let subject = "\(request.method) \(HTTPRequest.loggable(url: request.url))"
        return HTTPFailure(code, "\(subject): \(why)", delivered: sink.delivered, head: head)
    }

    /// Calls the completion. The loop does so exactly once, when libcurl no longer knows the transfer.
    func complete(_ result: Result<HTTPDownloadResult, HTTPFailure>) {
        // The leases go first: who is told may want the memory for the next request at once.
        target = nil
        request.body = nil
        cursor = BodyCursor(ByteSegments())
        completion(result)
    }

    private func success() -> Result<HTTPDownloadResult, HTTPFailure> {
        guard let head else { return .failure(failure(.protocolViolation, "the reply has no head")) }
        return .success(HTTPDownloadResult(head: head, delivered: sink.delivered, collected: sink.collected))
    }

    private func changeClock(_ change: (inout TransferClock) -> Void) {
        change(&clock)
        alarm.lower(to: clock.due)
    }

    private func now() -> MonotonicInstant { SystemTime().now() }
}

/// The earliest moment at which a loop must look at its transfers' clocks. Belongs to the loop's thread.
final class LoopAlarm: @unchecked Sendable {  // touched by the loop's thread alone
    private(set) var next = MonotonicInstant.distantFuture

    func lower(to moment: MonotonicInstant) { next = min(next, moment) }
    func reset() { next = .distantFuture }
}
