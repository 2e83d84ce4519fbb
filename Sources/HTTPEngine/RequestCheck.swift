import LinuxPlatform

/// Refuses what must not reach a connection: other schemes, and bytes that would begin a header or a request of their
/// own (header injection, CWE-93).
enum RequestCheck {
    static let maximumURL = 32 << 10
    static let maximumHeaderBytes = 256 << 10

    /// What is wrong with the request, in words that repeat none of its values; nil when it may be sent.
    static func complaint(about request: HTTPRequest) -> String? {
        guard request.method.utf8.count <= 32, isToken(request.method) else { return "the method is not an HTTP token" }
        return complaint(aboutURL: request.url)
            ?? complaint(aboutHeaders: request.headers, bodyCount: request.body?.count ?? 0)
            ?? (request.method == "HEAD" && (request.body?.count ?? 0) > 0 ? "a HEAD request has a body" : nil)
    }

    private static func complaint(aboutURL url: String) -> String? {
        let bytes = Array(url.utf8)
        if bytes.count > maximumURL { return "the URL has more than \(maximumURL) bytes" }
        if bytes.contains(where: { !(0x21...0x7E).contains($0) }) {
            return "the URL holds a control character, a space or a character outside ASCII"
        }
        guard let start = authorityStart(bytes) else { return "the URL is not absolute" }
        let scheme = String(decoding: bytes[..<(start - 3)], as: UTF8.self)
        guard scheme.equalsIgnoringCase("http") || scheme.equalsIgnoringCase("https") else {
            return "the URL is neither http nor https"
        }
        let authority = bytes[start...].prefix { !"/?#".utf8.contains($0) }
        return authority.isEmpty || authority.last == UInt8(ascii: "@") ? "the URL names no host" : nil
    }

    private static func complaint(aboutHeaders headers: HTTPHeaders, bodyCount: Int) -> String? {
        var total = 0
        for (name, value) in headers.fields {
            total += name.utf8.count + value.utf8.count
            guard isToken(name) else { return "a header name is not an HTTP token" }
            if value.utf8.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) {
                return "the value of header \(name) holds a control character"
            }
            if name.equalsIgnoringCase("transfer-encoding") { return "header \(name) is not the caller's to set" }
            if name.equalsIgnoringCase("content-length"), value != String(bodyCount) {
                return "header \(name) differs from the length of the body"
            }
        }
        return total > maximumHeaderBytes ? "the headers have more than \(maximumHeaderBytes) bytes" : nil
    }

    /// RFC 9110, section 5.6.2.
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }
}
