/// The scheme, host and port of a URL: what credentials are bound to, and what decides who may see a token.
///
/// Source: RFC 6454, section 4: names compare without case, the default port is filled in. Stricter than RFC 3986 in what it reads, so that no other reader of the same text can
/// find another host in it: no user part, no backslash, no space or control character, no escapes in the host.
package struct WebOrigin: Hashable, Sendable, CustomStringConvertible {
    /// `http` or `https`.
    package let scheme: String
    /// In lower case; IPv6 addresses without their brackets.
    package let host: String
    package let port: Int

    /// The origin of an absolute URL, or nil when that is not a plain http(s) URL.
    package init?(url: String) {
        guard let parts = Self.split(url) else { return nil }
        scheme = parts.scheme
        host = parts.host
        port = parts.port
    }

    /// The origin's URL, without a path: the default port is left out.
    package var description: String {
        let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        return port == Self.defaultPort(scheme) ? "\(scheme)://\(name)" : "\(scheme)://\(name):\(port)"
    }

    /// Whether it is this machine itself, where nobody listens on the wire.
    package var isLoopback: Bool {
        if host == "localhost" || host == "::1" { return true }
        let numbers = host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard numbers.count == 4, numbers[0].elementsEqual("127".utf8) else { return false }
        return numbers.allSatisfy { UInt8(String(decoding: $0, as: UTF8.self)) != nil }
    }

    /// Whether secrets may be sent there: encrypted, or not leaving the machine.
    package var mayReceiveSecrets: Bool { scheme == "https" || isLoopback }

    /// What stands behind the authority in `url`: path, query and fragment as they were written, or nothing. Nil when
    /// `url` has no origin.
    package static func remainder(of url: String) -> String? {
        split(url).map { String(decoding: $0.rest, as: UTF8.self) }
    }

    /// Makes the target of a `Location` or `Link` absolute.
    ///
    /// Source: RFC 3986, section 5.2, for the forms servers send: absolute, `//host/path`, `/path`, `?query` and a
    /// relative path. Nil for anything that is not a plain http(s) URL in the end.
    package static func resolve(_ reference: String, against base: String) -> String? {
        if WebOrigin(url: reference) != nil { return reference }
        guard let origin = WebOrigin(url: base), let remainder = remainder(of: base), !reference.isEmpty else {
            return nil
        }
        // A colon in the first segment makes it a scheme: javascript:, data:.
        if reference.prefix(while: { $0 != "/" && $0 != "?" && $0 != "#" }).contains(":") { return nil }
        let path = remainder.prefix { $0 != "?" && $0 != "#" }
        let url: String
        if reference.hasPrefix("//") {
            url = "\(origin.scheme):\(reference)"
        } else if reference.hasPrefix("/") {
            url = "\(origin)\(reference)"
        } else if reference.hasPrefix("?") {
            url = "\(origin)\(path)\(reference)"
        } else {
            url = "\(origin)\(path.lastIndex(of: "/").map { path[...$0] } ?? "/")\(reference)"
        }
        return WebOrigin(url: url) == nil ? nil : url
    }

    private typealias Parts = (scheme: String, host: String, port: Int, rest: Substring.UTF8View.SubSequence)

    private static func split(_ url: String) -> Parts? {
        let text = url[...].utf8
        guard text.count <= 16_384, text.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }),
            let scheme = ["https", "http"].first(where: { hasPrefix(text, $0 + "://") })
        else { return nil }
        let afterScheme = text.dropFirst(scheme.utf8.count + 3)
        let end = afterScheme.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == 0x23 }
        let authority = String(decoding: afterScheme[..<(end ?? afterScheme.endIndex)], as: UTF8.self).lowercased()
        guard let (host, port) = splitAuthority(authority, scheme) else { return nil }
        return (scheme, host, port, afterScheme[(end ?? afterScheme.endIndex)...])
    }

    private static func hasPrefix(_ text: Substring.UTF8View, _ prefix: String) -> Bool {
        text.prefix(prefix.utf8.count).elementsEqual(prefix.utf8) { $0 | 0x20 == $1 | 0x20 }
    }

    private static func splitAuthority(_ authority: String, _ scheme: String) -> (String, Int)? {
        var host = authority[...]
        var rest = ""[...]
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<close]
            rest = authority[authority.index(after: close)...]
            guard !host.isEmpty, host.utf8.allSatisfy({ isHexadecimal($0) || $0 == 0x3A || $0 == 0x2E }) else {
                return nil
            }
        } else {
            if let colon = authority.firstIndex(of: ":") {
                host = authority[..<colon]
                rest = authority[colon...]
            }
            guard !host.isEmpty, host.utf8.allSatisfy({ isNameByte($0) }) else { return nil }
        }
        if rest.isEmpty { return (String(host), defaultPort(scheme)) }
        guard rest.hasPrefix(":"), rest.utf8.dropFirst().allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(rest.dropFirst()), (1...65_535).contains(port)
        else { return nil }
        return (String(host), port)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D || byte == 0x2E || byte == 0x5F
    }

    private static func defaultPort(_ scheme: String) -> Int { scheme == "https" ? 443 : 80 }
}
