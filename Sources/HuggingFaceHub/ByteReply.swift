import HTTPEngine

/// Which bytes of a file a request asks for, and what the reply must therefore say.
struct ByteExpectation: Sendable {
    let offset: Int
    let count: Int
    /// The size of the whole file.
    let total: Int
    /// Asked for by `Range`; otherwise the whole file.
    let isRanged: Bool
    /// `.html` files may come as HTML.
    let mayBeHTML: Bool

    var isWhole: Bool { offset == 0 && count == total }
    var rangeHeader: String { "bytes=\(offset)-\(offset + count - 1)" }

    enum Verdict: Equatable {
        /// The body is what was asked for: this many bytes.
        case deliver
        case redirect
        /// An error status, to be read from the body.
        case status
        /// Not the bytes that were asked for; nothing of the body may be stored.
        case wrong(HubError.Code, String)
    }

    /// Decides from the head alone, before a byte of the body goes anywhere.
    func judge(_ head: HTTPResponseHead) -> Verdict {
        if isRedirect(head.status) { return .redirect }
        guard head.status == 200 || head.status == 206 else {
            return (200..<300).contains(head.status) ? .wrong(.notAHub, "an unexpected status") : .status
        }
        if let encoding = head.headers["content-encoding"], !encoding.equalsIgnoringCase("identity"), !encoding.isEmpty
        {
            return .wrong(
                .integrity,
                "the body is encoded as \(printable(encoding, limit: 20)) although identity was asked for"
            )
        }
        let isHTML = head.headers["content-type"]?.lowercased().hasPrefix("text/html") == true
        if isHTML, !mayBeHTML, head.contentLength != count {
            // A gateway's page, as a rule: the next attempt may reach the Hub.
            return .wrong(.unavailable, "an HTML page came instead of the file")
        }
        return head.status == 206 ? judgeRange(head) : judgeWhole(head)
    }

    private func judgeRange(_ head: HTTPResponseHead) -> Verdict {
        guard isRanged else { return .wrong(.integrity, "a part came (206) where the whole was asked for") }
        guard let text = head.headers["content-range"], let range = ContentRange(text) else {
            return .wrong(.integrity, "the reply does not say which range it is")
        }
        guard range.first == offset, range.last == offset + count - 1 else {
            return .wrong(.integrity, "asked for \(rangeHeader) and was sent bytes \(range.first)-\(range.last)")
        }
        guard range.total == total else {
            return .wrong(.integrity, "the listing says \(total) bytes and the server has \(range.total)")
        }
        if let length = head.contentLength, length != count {
            return .wrong(.integrity, "asked for \(count) bytes and \(length) are announced")
        }
        return .deliver
    }

    private func judgeWhole(_ head: HTTPResponseHead) -> Verdict {
        guard isWhole else {
            return .wrong(
                .unsupported,
                "the server ignores Range: it sends the whole file where \(rangeHeader) was asked for"
            )
        }
        if let length = head.contentLength, length != total {
            return .wrong(.integrity, "the listing says \(total) bytes and the server announces \(length)")
        }
        return .deliver
    }
}

/// A `Content-Range` with a known total (RFC 9110, section 14.4): `bytes 0-9/100`.
struct ContentRange: Equatable {
    let first: Int
    let last: Int
    let total: Int

    init?(_ text: String) {
        guard text.utf8.count <= 80, text.lowercased().hasPrefix("bytes ") else { return nil }
        let halves = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let total = decimalNumber(halves[1]) else { return nil }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = decimalNumber(ends[0]), let last = decimalNumber(ends[1]), first <= last,
            last < total
        else { return nil }
        self.first = first
        self.last = last
        self.total = total
    }

    /// The size that a 416 tells: `bytes */100`.
    static func unsatisfied(_ text: String) -> Int? {
        guard text.utf8.count <= 80, text.lowercased().hasPrefix("bytes */") else { return nil }
        return decimalNumber(text.dropFirst(8))
    }
}

private func decimalNumber(_ text: some StringProtocol) -> Int? {
    let digits = trimmed(text)
    return !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(digits) : nil
}

/// The digest in an `ETag`: without weakness mark and quotes; nil unless it is 40 or 64 hexadecimal digits.
func digest(inETag text: String?) -> String? {
    guard var tag = text.map({ trimmed($0) })?[...] else { return nil }
    if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
    if tag.hasPrefix("\"") { tag = tag.dropFirst() }
    if tag.hasSuffix("\"") { tag = tag.dropLast() }
    let hex = tag.lowercased()
    return isLowercaseHex(hex, count: 40) || isLowercaseHex(hex, count: 64) ? hex : nil
}
