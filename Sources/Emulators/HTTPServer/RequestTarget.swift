/// The target of a request: a path of segments and a query.
///
/// A segment is decoded after the path was split, so `%2F` inside an object name stays inside its segment.
/// Source: RFC 3986, section 3.
package struct RequestTarget: Sendable, Equatable {
    package struct QueryItem: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    /// As it stood in the request line, without scheme and host.
    package let raw: String
    /// The part of `raw` before `?`.
    package let rawPath: String
    /// The part of `raw` after the first `?`, or nothing.
    package let rawQuery: String
    /// The path after its first `/`, split at each `/` and decoded. Empty segments are kept.
    package let segments: [String]
    package let query: [QueryItem]

    /// Reads an origin-form or absolute-form target; nil when an escape is malformed or not UTF-8.
    package init?(_ text: String) {
        let origin = originForm(Array(text.utf8))
        guard origin.first == UInt8(ascii: "/") else { return nil }
        let cut = origin.firstIndex(of: UInt8(ascii: "?"))
        let path = origin[..<(cut ?? origin.endIndex)]
        let queryBytes = cut.map { origin[($0 + 1)...] } ?? []
        raw = String(decoding: origin, as: UTF8.self)
        rawPath = String(decoding: path, as: UTF8.self)
        rawQuery = String(decoding: queryBytes, as: UTF8.self)
        var segments: [String] = []
        for part in path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let segment = percentDecoded(part, plusIsSpace: false) else { return nil }
            segments.append(segment)
        }
        self.segments = segments
        guard let query = decodedForm(queryBytes) else { return nil }
        self.query = query
    }

    /// The value of the first query item of that name; case matters.
    package func value(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

/// The items of `application/x-www-form-urlencoded` text; nil when an escape is malformed or not UTF-8.
package func decodedForm(_ bytes: ArraySlice<UInt8>) -> [RequestTarget.QueryItem]? {
    var items: [RequestTarget.QueryItem] = []
    for part in bytes.split(separator: UInt8(ascii: "&")) {
        let equals = part.firstIndex(of: UInt8(ascii: "="))
        guard let name = percentDecoded(part[..<(equals ?? part.endIndex)], plusIsSpace: true),
            let value = percentDecoded(equals.map { part[($0 + 1)...] } ?? [], plusIsSpace: true)
        else { return nil }
        items.append(.init(name: name, value: value))
    }
    return items
}

private func originForm(_ target: [UInt8]) -> ArraySlice<UInt8> {
    for scheme in ["http://", "https://"] where target.starts(with: scheme.utf8) {
        let rest = target.dropFirst(scheme.utf8.count)
        guard let slash = rest.firstIndex(where: { $0 == UInt8(ascii: "/") }) else { return [UInt8(ascii: "/")] }
        return rest[slash...]
    }
    return target[...]
}

/// The text behind percent escapes; nil for a malformed escape, or for bytes that are not UTF-8.
func percentDecoded(_ bytes: ArraySlice<UInt8>, plusIsSpace: Bool) -> String? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var index = bytes.startIndex
    while index < bytes.endIndex {
        switch bytes[index] {
        case UInt8(ascii: "%"):
            guard index + 2 < bytes.endIndex, let high = hexDigit(bytes[index + 1]),
                let low = hexDigit(bytes[index + 2])
            else { return nil }
            decoded.append(high << 4 | low)
            index += 3
        case UInt8(ascii: "+") where plusIsSpace:
            decoded.append(0x20)
            index += 1
        case let byte:
            decoded.append(byte)
            index += 1
        }
    }
    return String(validating: decoded, as: UTF8.self)
}

/// Escapes every byte but the unreserved ones of RFC 3986 (`A-Za-z0-9-._~`).
package func percentEncoded(_ text: String, keeping kept: String = "") -> String {
    var encoded: [UInt8] = []
    for byte in text.utf8 {
        let isAlphanumeric = (0x30...0x39).contains(byte) || (0x61...0x7A).contains(lowered(byte))
        if isAlphanumeric || "-._~".utf8.contains(byte) || kept.utf8.contains(byte) {
            encoded.append(byte)
        } else {
            let digits = Array("0123456789ABCDEF".utf8)
            encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: encoded, as: UTF8.self)
}

func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
}
