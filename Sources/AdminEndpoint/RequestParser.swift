/// Makes one request of the bytes that a client sends, however they are cut; bounded in everything.
///
/// What the socket's few paths need of HTTP/1.1 and no more: a request line, fields, a body of a known length. Chunked
/// bodies are refused, and so is everything that two readers could understand differently. What comes behind the
/// request is not looked at. Source: RFC 9112, sections 2, 3, 5 and 6.
struct RequestParser {
    enum Step: Hashable {
        case more
        case request(AdminRequest)
        /// The status to answer, and why.
        case refuse(Int, String)
    }

    private struct Head {
        var method: String
        var path: String
        var length: Int
    }

    /// From the request line to the empty line, in bytes.
    static let maximumHead = 8192
    static let maximumFields = 64
    static let maximumBody = 1 << 20

    private var bytes: [UInt8] = []
    private var head: Head?
    private var bodyStart = 0

    /// Takes what came. After a request or a refusal it is not called again.
    mutating func take(_ news: some Sequence<UInt8>) -> Step {
        bytes += news
        if head == nil {
            guard let end = headEnd() else {
                if bytes.count > Self.maximumHead { return .refuse(431, "the head is longer than 8 KiB") }
                return .more
            }
            if end > Self.maximumHead { return .refuse(431, "the head is longer than 8 KiB") }
            switch Self.parse(bytes[..<end]) {
            case .success(let parsed): head = parsed
            case .failure(let refusal): return .refuse(refusal.status, refusal.reason)
            }
            bodyStart = end
        }
        guard let head else { return .more }
        guard bytes.count - bodyStart >= head.length else { return .more }
        let body = Array(bytes[bodyStart..<bodyStart + head.length])
        return .request(AdminRequest(method: head.method, path: head.path, body: body))
    }

    /// Where the body begins: behind the first empty line.
    private func headEnd() -> Int? {
        var index = bytes.startIndex
        while let newline = bytes[index...].firstIndex(of: 0x0A) {
            let next = newline + 1
            if next < bytes.count, bytes[next] == 0x0A { return next + 1 }
            if next + 1 < bytes.count, bytes[next] == 0x0D, bytes[next + 1] == 0x0A { return next + 2 }
            index = next
        }
        return nil
    }

    private struct Refusal: Error {
        let status: Int
        let reason: String
    }

    private static func parse(_ bytes: ArraySlice<UInt8>) -> Result<Head, Refusal> {
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
            line.last == 0x0D ? line.dropLast() : line
        }
        let fields = lines.dropFirst().filter { !$0.isEmpty }
        guard fields.count <= maximumFields else { return refuse(431, "more than 64 fields") }
        let words = lines[0].split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, isToken(words[0]), words[1].first == 0x2F, words[1].allSatisfy({ 0x21...0x7E ~= $0 })
        else { return refuse(400, "the first line is no request") }
        guard words[2].elementsEqual("HTTP/1.1".utf8) || words[2].elementsEqual("HTTP/1.0".utf8) else {
            return refuse(505, "only HTTP/1.1 is spoken here")
        }
        let path = words[1].prefix { $0 != 0x3F }
        return length(fields).map { length in
            Head(method: text(words[0]), path: text(path), length: length)
        }
    }

    /// The length of the body: one, or none.
    private static func length(_ fields: [ArraySlice<UInt8>]) -> Result<Int, Refusal> {
        var length: Int?
        for line in fields {
            guard let colon = line.firstIndex(of: 0x3A), isToken(line[..<colon]),
                !line[colon...].contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F })
            else { return refuse(400, "a field is none") }
            let value = trimmed(line[(colon + 1)...])
            switch text(line[..<colon]).lowercased() {
            case "transfer-encoding": return refuse(501, "a body needs a Content-Length here")
            case "content-length":
                guard !value.isEmpty, value.count <= 18, value.allSatisfy({ 0x30...0x39 ~= $0 }),
                    let number = Int(text(value)), length == nil || length == number
                else { return refuse(400, "the Content-Length is no number") }
                length = number
            default: break
            }
        }
        if let length, length > maximumBody { return refuse(413, "the body is longer than 1 MiB") }
        return .success(length ?? 0)
    }

    private static func refuse<Value>(_ status: Int, _ reason: String) -> Result<Value, Refusal> {
        .failure(Refusal(status: status, reason: reason))
    }

    private static func isToken(_ bytes: ArraySlice<UInt8>) -> Bool {
        !bytes.isEmpty
            && bytes.allSatisfy { byte in
                0x30...0x39 ~= byte || 0x61...0x7A ~= byte | 0x20 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var bytes = bytes.drop { $0 == 0x20 || $0 == 0x09 }
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
        return bytes
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
}
