/// The request line and header fields of one HTTP/1.1 request.
///
/// Source: RFC 9112, sections 2, 3 and 6.
struct RequestHead: Sendable, Equatable {
    /// How the length of the body is known.
    enum Framing: Sendable, Equatable {
        case length(Int)
        case chunked
    }

    let method: String
    let target: RequestTarget
    let headers: HeaderFields
    let framing: Framing
    /// False for HTTP/1.0 and for `Connection: close`.
    let keepsAlive: Bool
    let expectsContinue: Bool

    /// The most bytes a head may have.
    static let limit = 64 << 10
    /// The most header fields a head may have.
    static let fieldLimit = 200

    /// Reads a head, from the request line to the empty line.
    ///
    /// - Throws: the status to answer: 400 for malformed, 431 for too many fields, 501 for a transfer coding other than
    ///   chunked, 505 for another version of HTTP.
    init(parsing bytes: ArraySlice<UInt8>) throws(HTTPStatus) {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        while lines.last?.isEmpty == true { lines.removeLast() }
        guard let first = lines.first else { throw .badRequest }
        let words = first.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(isTokenByte),
            let targetText = String(validating: words[1], as: UTF8.self), let target = RequestTarget(targetText)
        else { throw .badRequest }
        let version = String(decoding: words[2], as: UTF8.self)
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else { throw .versionNotSupported }
        guard lines.count - 1 <= Self.fieldLimit else { throw .headerFieldsTooLarge }
        let headers = try parsedFields(lines.dropFirst())
        method = String(decoding: words[0], as: UTF8.self)
        self.target = target
        self.headers = headers
        framing = try Self.framing(of: headers)
        keepsAlive = version == "HTTP/1.1" && !headers.list("Connection", contains: "close")
        expectsContinue = headers["Expect"].map { isSame($0, "100-continue") } ?? false
    }

    private static func framing(of headers: HeaderFields) throws(HTTPStatus) -> Framing {
        let lengths = Set(headers.all("Content-Length"))
        if let coding = headers["Transfer-Encoding"] {
            // Both together is how requests are smuggled: refused, as RFC 9112 6.1 allows.
            guard lengths.isEmpty else { throw .badRequest }
            guard isSame(coding, "chunked") else { throw .notImplemented }
            return .chunked
        }
        guard let text = lengths.first else { return .length(0) }
        guard lengths.count == 1, text.utf8.count <= 18, !text.isEmpty,
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text)
        else { throw .badRequest }
        return .length(length)
    }
}

private func parsedFields(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(HTTPStatus) -> HeaderFields {
    var headers = HeaderFields()
    for line in lines {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
            line[..<colon].allSatisfy(isTokenByte),
            !line.contains(where: { $0 < 0x20 && $0 != 0x09 }),
            let value = String(validating: line[(colon + 1)...], as: UTF8.self)
        else { throw .badRequest }
        headers.add(String(decoding: line[..<colon], as: UTF8.self), trimmed(value))
    }
    return headers
}

private func isTokenByte(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x61...0x7A).contains(lowered(byte)) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
}
