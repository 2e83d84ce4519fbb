import LinuxPlatform

// One client of the socket: reads one request, sends one reply, and goes.
//
//   reading ──▶ answering ──▶ writing ──▶ over
//      │ refused, or too slow: writing      ▲
//      └── gone ────────────────────────────┘

/// What becomes of one connection. No I/O, no clock.
struct ClientState {
    enum Need: Hashable {
        case read
        /// A request is whole: answer it, then `reply`.
        case answer(AdminRequest)
        case write
        case close
    }

    private enum Phase {
        case reading(RequestParser)
        case answering(AdminRequest)
        case writing([UInt8], sent: Int)
        case over
    }

    /// A client has so long to send its request, and to take the reply.
    static let patience = Duration.seconds(10)

    private var phase = Phase.reading(RequestParser())
    private(set) var deadline: MonotonicInstant

    init(now: MonotonicInstant) { deadline = now.advanced(by: Self.patience) }

    var need: Need {
        switch phase {
        case .reading: .read
        case .answering(let request): .answer(request)
        case .writing: .write
        case .over: .close
        }
    }

    /// Bytes have come; none: the peer has finished.
    mutating func received(_ bytes: some Collection<UInt8>, now: MonotonicInstant) {
        guard case .reading(var parser) = phase else { return }
        if bytes.isEmpty {
            phase = .over
            return
        }
        switch parser.take(bytes) {
        case .more: phase = .reading(parser)
        case .request(let request): phase = .answering(request)
        case .refuse(let status, let reason): reply(AdminReply(status, reason), now: now)
        }
    }

    /// The reply to the request, or a refusal before there was one.
    mutating func reply(_ reply: AdminReply, now: MonotonicInstant) {
        phase = .writing(reply.bytes, sent: 0)
        deadline = now.advanced(by: Self.patience)
    }

    /// What is still to be sent.
    var rest: ArraySlice<UInt8> {
        guard case .writing(let bytes, let sent) = phase else { return [] }
        return bytes[sent...]
    }

    mutating func sent(_ count: Int, now: MonotonicInstant) {
        guard case .writing(let bytes, let sent) = phase else { return }
        // Who takes something gets more time; a reply has an end.
        deadline = now.advanced(by: Self.patience)
        phase = sent + count < bytes.count ? .writing(bytes, sent: sent + count) : .over
    }

    /// The peer is gone.
    mutating func failed() { phase = .over }

    /// Time has passed: who was too slow with a request is told so, who does not read is left.
    mutating func passed(_ now: MonotonicInstant) {
        guard now >= deadline else { return }
        if case .reading = phase {
            reply(AdminReply(408, "no whole request came in time"), now: now)
        } else {
            phase = .over
        }
    }
}
