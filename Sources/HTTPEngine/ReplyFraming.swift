import LinuxPlatform

/// Takes the bytes of one reply apart that arrive on a direct connection: the lines of its head, then exactly the body
/// that it announces.
///
///     head → body → complete          bytes behind the end of the body: complete, and the connection is not used again
///      ↓ a length that is not plain   ↓ the transfer has enough, or cannot go on
///     unframed                        aborted
///
/// Invariants: the transfer is told of each byte once and in order; a body whose length is not announced by one plain
/// `Content-Length` reaches it never, since nothing of the body was given out when that is found. No I/O.
/// Source: RFC 9112, section 6.3.
struct ReplyFraming {
    enum Phase: Equatable {
        case head
        case body
        case complete
        /// Its transfer has said why.
        case aborted
        /// Somebody must ask again who can read such bodies.
        case unframed
    }

    private(set) var phase = Phase.head
    /// Bytes of the body that must still come.
    private(set) var bodyLeft = 0
    /// Whether another request may follow on the same connection.
    private(set) var keepsConnection = true
    /// Whether any byte came.
    private(set) var hasBegun = false
    private var line: [UInt8] = []

    /// Where the next bytes of the body belong; nil when they have to go through `take`.
    func place(in transfer: Transfer) -> UnsafeMutableRawBufferPointer? {
        guard phase == .body, let place = transfer.bodyPlace else { return nil }
        return UnsafeMutableRawBufferPointer(rebasing: place.prefix(bodyLeft))
    }

    /// So many bytes were put where `place` said.
    mutating func placed(_ count: Int, _ transfer: Transfer) {
        bodyLeft -= count
        phase = !transfer.bodyArrived(count) ? .aborted : bodyLeft == 0 ? .complete : .body
    }

    /// Bytes that came, wherever they belong.
    mutating func take(_ bytes: UnsafeRawBufferPointer, _ transfer: Transfer) {
        hasBegun = hasBegun || !bytes.isEmpty
        var rest = bytes[...]
        while phase == .head, let next = rest.first {
            line.append(next)
            rest = rest.dropFirst()
            if next == 0x0A { takeLine(transfer) }
            if line.count > ReplyHeadParser.limit { takeLine(transfer) }
        }
        guard phase == .body || phase == .complete else { return }
        let body = rest.prefix(bodyLeft)
        if body.count < rest.count { keepsConnection = false }
        guard phase == .body, !body.isEmpty else { return }
        bodyLeft -= body.count
        let goesOn = transfer.takeBody(UnsafeRawBufferPointer(rebasing: body))
        phase = !goesOn ? .aborted : bodyLeft == 0 ? .complete : .body
    }

    private mutating func takeLine(_ transfer: Transfer) {
        let step = line.withUnsafeBytes { transfer.takeHeader($0) }
        line.removeAll(keepingCapacity: true)
        switch step {
        case .more: break
        case .abort: phase = .aborted
        case .complete(let head): beginBody(head, transfer)
        }
    }

    private mutating func beginBody(_ head: HTTPResponseHead, _ transfer: Transfer) {
        let hasNone = head.status == 204 || head.status == 304
        guard head.headers["transfer-encoding"] == nil, let length = hasNone ? 0 : Self.length(head) else {
            phase = .unframed
            return
        }
        bodyLeft = length
        keepsConnection = transfer.repliesPersistently && !Self.closes(head)
        phase = !transfer.decideOnBody() ? .aborted : length == 0 ? .complete : .body
    }

    /// The one length that is announced; nil for none, several, or anything but digits.
    private static func length(_ head: HTTPResponseHead) -> Int? {
        let values = head.headers.all("content-length")
        guard let first = values.first, values.count == 1, !first.isEmpty, first.utf8.count <= 18,
            first.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int(first)
    }

    private static func closes(_ head: HTTPResponseHead) -> Bool {
        head.headers.all("connection").contains { value in
            value.split(separator: ",").contains { option in
                String(option.drop { $0 == " " }.prefix { $0 != " " }).equalsIgnoringCase("close")
            }
        }
    }
}
