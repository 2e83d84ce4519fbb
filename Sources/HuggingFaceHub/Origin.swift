/// Scheme, host and port of a URL: what decides who may see a token.
///
/// Source: RFC 6454. Host names compare without case; the default port is filled in.
package struct Origin: Hashable, Sendable, CustomStringConvertible {
    package let scheme: String
    package let host: String
    package let port: Int

    /// Nil unless the text is an absolute http or https URL with a plain host and no user information.
    package init?(url: String) {
        guard let parts = URLParts(url) else { return nil }
        scheme = parts.scheme
        host = parts.host
        port = parts.port
    }

    package var description: String {
        let isDefault = port == (scheme == "https" ? 443 : 80)
        return "\(scheme)://\(host)" + (isDefault ? "" : ":\(port)")
    }
}

/// An absolute URL taken apart, as far as we need it. The path is as it was written.
struct URLParts {
    var scheme: String
    var host: String
    var port: Int
    /// As written: `host` or `host:port`.
    var authority: String
    /// With the leading `/`; empty when there is none.
    var path: String
    /// With its `?`; empty when there is none.
    var query: String

    init?(_ url: String) {
        guard url.utf8.count <= 16_384, url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != 0x5C }) else {
            return nil
        }
        let bytes = Array(url.utf8)
        guard let colon = bytes.firstIndex(of: 0x3A), bytes.count > colon + 3, bytes[colon + 1] == 0x2F,
            bytes[colon + 2] == 0x2F
        else { return nil }
        scheme = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
        guard scheme == "http" || scheme == "https" else { return nil }
        let rest = bytes[(colon + 3)...]
        let authorityEnd = rest.firstIndex { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 } ?? rest.endIndex
        authority = String(decoding: rest[..<authorityEnd], as: UTF8.self)
        guard let (host, port) = Self.splitAuthority(authority, scheme) else { return nil }
        self.host = host
        self.port = port
        let afterAuthority = rest[authorityEnd...]
        let fragment = afterAuthority.firstIndex(of: 0x23) ?? afterAuthority.endIndex
        let question = afterAuthority[..<fragment].firstIndex(of: 0x3F) ?? fragment
        path = String(decoding: afterAuthority[..<question], as: UTF8.self)
        query = String(decoding: afterAuthority[question..<fragment], as: UTF8.self)
    }

    private static func splitAuthority(_ authority: String, _ scheme: String) -> (String, Int)? {
        if authority.isEmpty || authority.contains("@") { return nil }
        let standard = scheme == "https" ? 443 : 80
        let bytes = Array(authority.utf8)
        let close = bytes.lastIndex(of: 0x5D) ?? -1
        guard let colon = bytes.lastIndex(of: 0x3A), colon > close else { return (authority.lowercased(), standard) }
        let digits = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        guard colon > 0, let port = Int(digits), (1...65_535).contains(port), digits.utf8.allSatisfy({ $0 >= 0x30 })
        else { return nil }
        return (String(decoding: bytes[..<colon], as: UTF8.self).lowercased(), port)
    }
}

/// Makes the target of a `Location` or `Link` absolute.
///
/// Source: RFC 3986, section 5.2, for the forms servers send: absolute, `//host/path`, `/path`, `?query` and a relative
/// path. Nil for anything that is not http or https in the end.
func resolveReference(_ reference: String, against base: String) -> String? {
    if Origin(url: reference) != nil { return reference }
    guard let parts = URLParts(base), !reference.isEmpty, reference.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
        return nil
    }
    let head = reference.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    if head.contains(":") { return nil }
    let root = "\(parts.scheme)://\(parts.authority)"
    let url: String
    if reference.hasPrefix("//") {
        url = "\(parts.scheme):\(reference)"
    } else if reference.hasPrefix("/") {
        url = root + reference
    } else if reference.hasPrefix("?") {
        url = root + parts.path + reference
    } else {
        let directory = parts.path.lastIndex(of: "/").map { parts.path[...$0] } ?? "/"
        url = root + directory + reference
    }
    return Origin(url: url) == nil ? nil : url
}

/// Whom the Hub's token may reach.
package struct TokenScope: Sendable, Equatable {
    /// The configured endpoint, and the Hub's own names, to which mirrors and renames redirect.
    package let origins: Set<Origin>

    /// - Parameter endpoint: an absolute URL.
    package init(endpoint: Origin) {
        let official = ["https://huggingface.co", "https://hub-ci.huggingface.co", "https://hf.co"]
        origins = Set(official.compactMap(Origin.init(url:)) + [endpoint])
    }

    /// Only exact origins: an https name over http does not qualify.
    package func admits(_ url: String) -> Bool { Origin(url: url).map(origins.contains) ?? false }
}
