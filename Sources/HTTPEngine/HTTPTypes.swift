package import LinuxPlatform

/// Header fields in the order they were given or received; names compare without case (RFC 9110, section 5.1).
package struct HTTPHeaders: Sendable, ExpressibleByArrayLiteral {
    package private(set) var fields: [(name: String, value: String)]

    package init(_ fields: [(name: String, value: String)] = []) { self.fields = fields }
    package init(arrayLiteral elements: (String, String)...) { fields = elements.map { (name: $0.0, value: $0.1) } }

    /// The first value of the name.
    package subscript(_ name: String) -> String? { fields.first { $0.name.equalsIgnoringCase(name) }?.value }
    /// All values of the name: repeated headers stay apart.
    package func all(_ name: String) -> [String] {
        fields.filter { $0.name.equalsIgnoringCase(name) }.map(\.value)
    }

    package mutating func append(_ name: String, _ value: String) { fields.append((name: name, value: value)) }
    /// Removes what the name had, then sets it.
    package mutating func set(_ name: String, _ value: String) {
        remove(name)
        append(name, value)
    }
    package mutating func remove(_ name: String) { fields.removeAll { $0.name.equalsIgnoringCase(name) } }

    /// Gives the last field another value: a folded line came.
    mutating func replaceLast(with value: String) {
        guard !fields.isEmpty else { return }
        fields[fields.count - 1].value = value
    }
}

extension String {
    /// ASCII comparison without case.
    package func equalsIgnoringCase(_ other: String) -> Bool {
        utf8.elementsEqual(other.utf8) { left, right in lowered(left) == lowered(right) }
    }
}

private func lowered(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

/// The waits of one attempt. Each has an end.
package struct HTTPTimeouts: Sendable {
    /// Name resolution, connection and TLS.
    package var connect: Duration
    /// From the request being on its way (its body sent) to the first byte of the reply.
    package var firstByte: Duration
    /// Slower than this for `slowFor` is a stall, in either direction.
    package var minimumBytesPerSecond: Int
    package var slowFor: Duration
    /// The whole attempt, whatever it is doing.
    package var deadline: MonotonicInstant

    package init(
        connect: Duration = .seconds(10),
        firstByte: Duration = .seconds(60),
        minimumBytesPerSecond: Int = 65_536,
        slowFor: Duration = .seconds(20),
        deadline: MonotonicInstant = .distantFuture
    ) {
        self.connect = connect
        self.firstByte = firstByte
        self.minimumBytesPerSecond = minimumBytesPerSecond
        self.slowFor = slowFor
        self.deadline = deadline
    }
}

/// One HTTP request. Redirects are never followed and bodies never decoded: both are the caller's to decide.
package struct HTTPRequest: Sendable {
    package var method: String
    /// Absolute, http or https. Its query may hold secrets: never log it, see `HTTPRequest.loggable(url:)`.
    package var url: String
    package var headers: HTTPHeaders
    package var body: ByteSegments?
    package var timeouts: HTTPTimeouts
    /// False for the metadata server: proxies of the environment are not used.
    package var usesProxy: Bool

    package init(
        _ method: String,
        _ url: String,
        headers: HTTPHeaders = [],
        body: ByteSegments? = nil,
        timeouts: HTTPTimeouts = HTTPTimeouts(),
        usesProxy: Bool = true
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeouts = timeouts
        self.usesProxy = usesProxy
    }

    /// The URL without user, query and fragment: what may stand in a log.
    package static func loggable(url: String) -> String {
        let bytes = Array(url.utf8)
        let end = bytes.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? bytes.count
        guard let start = authorityStart(bytes), start <= end else { return "(not an absolute URL)" }
        let authorityEnd = bytes[start..<end].firstIndex(of: UInt8(ascii: "/")) ?? end
        // The last '@' ends the user information; a password may hold another one.
        let hostStart = bytes[start..<authorityEnd].lastIndex(of: UInt8(ascii: "@")).map { $0 + 1 } ?? start
        // "user:pa?ss@host" has, by the rules, the host "user" and a query.
        let isCut = authorityEnd == end && bytes[end...].contains(UInt8(ascii: "@"))
        let isPlain = !isCut && isHostAndPort(bytes[hostStart..<authorityEnd])
        let host = isPlain ? bytes[hostStart..<authorityEnd] : ArraySlice("(host)".utf8)
        // What cannot stand in a URL does not stand in a log either: no line breaks, no escape sequences.
        let shown = (bytes[..<start] + host + bytes[authorityEnd..<end]).map { (0x21...0x7E).contains($0) ? $0 : 0x3F }
        return String(decoding: shown, as: UTF8.self)
    }
}

/// The place behind "scheme://".
func authorityStart(_ url: [UInt8]) -> Int? {
    guard let colon = url.firstIndex(of: UInt8(ascii: ":")), url[colon...].starts(with: "://".utf8) else { return nil }
    return colon + 3
}

/// A name or address with an optional port in digits: nothing that could be a piece of a password.
private func isHostAndPort(_ bytes: ArraySlice<UInt8>) -> Bool {
    var host = bytes
    if let colon = bytes.lastIndex(of: UInt8(ascii: ":")), bytes.last != UInt8(ascii: "]") {
        guard bytes[(colon + 1)...].allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
        host = bytes[..<colon]
    }
    if host.first == UInt8(ascii: "[") {
        return host.last == UInt8(ascii: "]") && host.dropFirst().dropLast().allSatisfy { $0 != UInt8(ascii: "[") }
    }
    return host.allSatisfy { byte in
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "-._~".utf8.contains(byte)
        }
    }
}

/// Status and headers of a reply.
package struct HTTPResponseHead: Sendable {
    package var status: Int
    package var headers: HTTPHeaders
    package init(status: Int, headers: HTTPHeaders) {
        self.status = status
        self.headers = headers
    }
    /// The announced length of the body in bytes.
    package var contentLength: Int? { headers["content-length"].flatMap(Int.init) }
}

/// A reply whose body was collected.
package struct HTTPResponse: Sendable {
    package var head: HTTPResponseHead
    package var body: [UInt8]
    package init(head: HTTPResponseHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }
    package var status: Int { head.status }
    package var headers: HTTPHeaders { head.headers }
}

/// No usable reply came.
package struct HTTPFailure: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        case resolve
        case connect
        /// The peer's certificate is not to be trusted. Never retried.
        case tls
        /// Connection lost, before or in the middle of the reply.
        case connectionLost
        /// The body ended before its announced length.
        case bodyTooShort
        /// The body went on past what the caller has room for.
        case bodyTooLong
        /// No first byte in time.
        case firstByteTimeout
        /// Too slow for too long.
        case stalled
        case deadlineExceeded
        case cancelled
        /// Not http or https, or not a URL.
        case invalidRequest
        /// The reply is not HTTP.
        case protocolViolation
        case engineClosed
    }
    package var code: Code
    /// For people; free of secrets: the URL appears without its query.
    package var message: String
    /// Bytes of the body that were delivered to the buffer before it failed.
    package var delivered: Int
    /// The head of the reply, if it came.
    package var head: HTTPResponseHead?

    package init(_ code: Code, _ message: String, delivered: Int = 0, head: HTTPResponseHead? = nil) {
        self.code = code
        self.message = message
        self.delivered = delivered
        self.head = head
    }

    /// Whether the same request may succeed later.
    package var isTransient: Bool {
        switch code {
        case .resolve, .connect, .connectionLost, .bodyTooShort, .firstByteTimeout, .stalled: true
        default: false
        }
    }
    package var description: String { message }
}

/// What to do with a body, decided when the head is there and before its first byte goes anywhere.
package enum HTTPBodyDisposition: Sendable {
    /// Into the caller's buffer. More than `count` bytes fail with `bodyTooLong`; fewer with `bodyTooShort`.
    case deliver(count: Int)
    /// Into an array of at most `limit` bytes, the rest cut off: an error's text.
    case collect(limit: Int)
}

/// What a download does that its bytes do not tell.
package enum DownloadNotice: Hashable, Sendable {
    /// The request goes out on a connection that is there, new or used before; twice when the first turns out dead.
    case sent
    /// Its bytes waited for this machine more than it waited for them, for a while: `ReceiveBalance`. Not told of downloads
    /// that libcurl carries.
    case behind
}

/// A request whose body goes straight into memory that the caller owns.
package struct HTTPDownload: Sendable {
    package var request: HTTPRequest
    package var buffer: BufferLease
    package var bufferOffset: Int
    /// Looks at status and headers, on the engine's thread.
    package var decide: @Sendable (HTTPResponseHead) -> HTTPBodyDisposition
    /// Sees each delivered piece, with its offset in the delivered bytes, on the engine's thread; must not block.
    package var tap: (@Sendable (Int, UnsafeRawBufferPointer) -> Void)?
    /// On the engine's thread; must not block.
    package var notice: (@Sendable (DownloadNotice) -> Void)?

    package init(
        _ request: HTTPRequest,
        into buffer: BufferLease,
        at bufferOffset: Int,
        tap: (@Sendable (Int, UnsafeRawBufferPointer) -> Void)? = nil,
        notice: (@Sendable (DownloadNotice) -> Void)? = nil,
        decide: @escaping @Sendable (HTTPResponseHead) -> HTTPBodyDisposition
    ) {
        self.request = request
        self.buffer = buffer
        self.bufferOffset = bufferOffset
        self.tap = tap
        self.notice = notice
        self.decide = decide
    }
}

/// The end of a download that got a reply.
package struct HTTPDownloadResult: Sendable {
    package var head: HTTPResponseHead
    /// Bytes in the buffer.
    package var delivered: Int
    /// What `collect` kept.
    package var collected: [UInt8]
    package init(head: HTTPResponseHead, delivered: Int, collected: [UInt8]) {
        self.head = head
        self.delivered = delivered
        self.collected = collected
    }
}

/// Stops a transfer; its completion still comes, exactly once, with `cancelled` unless it was faster.
package struct HTTPCancellation: Sendable {
    package let cancel: @Sendable () -> Void
    package init(_ cancel: @escaping @Sendable () -> Void) { self.cancel = cancel }
}

/// Something that can carry HTTP requests: the engine, or a script in a test.
package protocol HTTPTransport: AnyObject, Sendable {
    /// Sends a request and collects the reply's body, of at most `limit` bytes (`bodyTooLong` past it). One attempt.
    func send(_ request: HTTPRequest, limit: Int) async throws(HTTPFailure) -> HTTPResponse

    /// Starts a download. One attempt; the completion is called exactly once, on the engine's thread.
    @discardableResult
    func download(
        _ download: HTTPDownload,
        completion: @escaping @Sendable (Result<HTTPDownloadResult, HTTPFailure>) -> Void
    ) -> HTTPCancellation
}
