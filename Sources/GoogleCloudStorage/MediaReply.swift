import HTTPEngine
import ObjectStorage

/// Whether the head of a reply announces exactly the bytes that were asked for. Decided before the first byte lands.
///
/// Source: Cloud Storage, "Transcoding of gzip-compressed files" and "Object downloads"; RFC 9110, section 14.4.
struct MediaReply: Sendable {
    /// What was asked for: with a `Range` header, or the whole.
    var range: ByteRange
    var isRanged: Bool
    var size: Int
    var generation: Generation
    /// As stored: nil for none.
    var contentEncoding: String?
    var subject: String

    /// The number of bytes to take, or why none of them may be.
    func check(_ head: HTTPResponseHead) -> Result<Int, ObjectStoreError> {
        if let complaint = complaint(about: head) {
            return .failure(
                ObjectStoreError(
                    .integrity,
                    "\(subject): \(complaint)",
                    status: head.status,
                    requestID: head.headers[requestIDField]
                )
            )
        }
        return .success(range.count)
    }

    private func complaint(about head: HTTPResponseHead) -> String? {
        if let complaint = generationComplaint(head) ?? encodingComplaint(head) { return complaint }
        let isWhole = range.offset == 0 && range.count == size
        switch head.status {
        case 206 where isRanged:
            guard let sent = ContentRange(head.headers["content-range"]) else {
                return "the server sent a part without saying which"
            }
            guard sent.offset == range.offset, sent.count == range.count, sent.total == nil || sent.total == size else {
                let total = sent.total.map(String.init) ?? "*"
                return "bytes \(range) of \(size) were asked for and bytes \(sent.offset)-"
                    + "\(sent.offset + sent.count - 1) of \(total) sent"
            }
        case 200 where isWhole: break
        case 200: return "a part was asked for and the whole sent: the server or a proxy ignores ranges"
        default: return "the server answered HTTP \(head.status) to a read"
        }
        if let length = head.contentLength, length != range.count {
            return "\(range.count) bytes were asked for and \(length) announced"
        }
        return nil
    }

    private func generationComplaint(_ head: HTTPResponseHead) -> String? {
        guard let text = head.headers["x-goog-generation"] else { return "the reply does not name its generation" }
        return Int64(text) == generation.value ? nil : "another generation was sent than \(generation)"
    }

    private func encodingComplaint(_ head: HTTPResponseHead) -> String? {
        let sent = Self.encoding(head.headers["content-encoding"])
        let transformation = "the server or a proxy changed the content's encoding on the way"
        if head.headers["x-guploader-response-body-transformations"] != nil { return transformation }
        if let stored = head.headers["x-goog-stored-content-encoding"] {
            if Self.encoding(stored) != sent { return transformation }
        } else if sent != nil, sent != Self.encoding(contentEncoding) {
            return transformation
        }
        if let length = head.headers["x-goog-stored-content-length"], Int(length) != size {
            return "the store holds \(length) bytes and not \(size)"
        }
        return nil
    }

    private static func encoding(_ text: String?) -> String? {
        guard let text, !text.isEmpty, !text.equalsIgnoringCase("identity") else { return nil }
        return text.lowercased()
    }
}

/// `Content-Range` of a 206 (RFC 9110, section 14.4).
struct ContentRange: Sendable, Equatable {
    var offset: Int
    var count: Int
    /// Nil when the server does not know.
    var total: Int?

    /// Nil for anything but `bytes FIRST-LAST/TOTAL` with numbers in order.
    init?(_ header: String?) {
        guard let header, header.utf8.count <= 80, header.hasPrefix("bytes ") else { return nil }
        let halves = header.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = Self.number(ends[0]), let last = Self.number(ends[1]), first <= last else {
            return nil
        }
        if halves[1] != "*" {
            guard let total = Self.number(halves[1]), last < total else { return nil }
            self.total = total
        }
        offset = first
        count = last - first + 1
    }

    private static func number(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text), number < Int.max else {
            return nil
        }
        return number
    }
}
