/// Makes a head out of the header lines that libcurl hands over one by one.
///
/// Interim replies (1xx) are passed over and repeated fields stay apart. What comes after the head (trailers of a
/// chunked body) is counted and dropped. Sources: RFC 9112, sections 4 and 5; RFC 9110, sections 5 and 15.2.
struct ReplyHeadParser {
    enum Event {
        /// More lines are to come.
        case more
        /// The first line of the final reply.
        case began
        case head(HTTPResponseHead)
        case violation(String)
    }

    /// All lines of one exchange together, interim replies and trailers included, in bytes.
    static let limit = 256 << 10

    private var taken = 0
    private var status: Int?
    private var headers = HTTPHeaders()
    private var isComplete = false
    /// Whether the last status line was of HTTP/1.1, whose connections stay open (RFC 9112, section 9.3).
    private(set) var isPersistentVersion = false

    /// Takes one line with its line end.
    mutating func take(_ line: UnsafeRawBufferPointer) -> Event {
        taken += line.count
        if taken > Self.limit { return .violation("the header block is larger than \(Self.limit) bytes") }
        if isComplete { return .more }
        let text = trimmed(line[...]) { $0 == 0x0D || $0 == 0x0A }
        guard let status else { return takeStatus(text) }
        if text.isEmpty { return finish(status) }
        return takeField(text)
    }

    private mutating func takeStatus(_ text: Slice<UnsafeRawBufferPointer>) -> Event {
        // "HTTP/1.1 200 OK": the version's three characters, then exactly three digits.
        let bytes = UnsafeRawBufferPointer(rebasing: text)
        guard bytes.count >= 12, bytes.starts(with: "HTTP/1.".utf8), bytes[8] == 0x20,
            bytes.count == 12 || bytes[12] == 0x20,
            let status = bytes[9..<12].reduce(
                0,
                { value, digit in
                    guard let value, (0x30...0x39).contains(digit) else { return nil }
                    return value * 10 + Int(digit - 0x30)
                }
            ), status >= 100
        else { return .violation("the reply does not begin with an HTTP/1.1 status line") }
        self.status = status
        isPersistentVersion = bytes[7] == UInt8(ascii: "1")
        return status >= 200 ? .began : .more
    }

    private mutating func takeField(_ text: Slice<UnsafeRawBufferPointer>) -> Event {
        if let first = text.first, first == 0x20 || first == 0x09 {
            // A folded line (RFC 9112, 5.2) belongs to the field before it.
            guard let last = headers.fields.last else { return .violation("the first header line is a continuation") }
            headers.replaceLast(with: last.value + " " + decoded(text))
            return .more
        }
        guard let colon = text.firstIndex(of: 0x3A), colon > text.startIndex else {
            return .violation("a header line has no name")
        }
        headers.append(decoded(text[..<colon]), decoded(text[text.index(after: colon)...]))
        return .more
    }

    private mutating func finish(_ status: Int) -> Event {
        if status == 101 { return .violation("the server switched protocols unasked") }
        defer { headers = HTTPHeaders() }
        if status < 200 {
            self.status = nil
            return .more
        }
        isComplete = true
        return .head(HTTPResponseHead(status: status, headers: headers))
    }
}

private func trimmed(
    _ text: Slice<UnsafeRawBufferPointer>,
    _ isDropped: (UInt8) -> Bool
) -> Slice<UnsafeRawBufferPointer> {
    var text = text
    while let last = text.last, isDropped(last) { text = text.dropLast() }
    return text
}

private func decoded(_ text: Slice<UnsafeRawBufferPointer>) -> String {
    let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
    return String(decoding: trimmed(text.drop(while: isSpace), isSpace), as: UTF8.self)
}
