/// Percent-encoding: byte by byte, without Unicode normalisation.
///
/// Source: RFC 3986, section 2; Cloud Storage, "Request endpoints: encoding URL path parts".
package enum PercentEncoding {
    /// For one path segment, a query value, or a value of a form: all but `A-Za-z0-9-._~` is escaped, `/` included.
    package static func segment(_ text: String) -> String { escape(text, keepingSlash: false) }

    /// For a whole path, where `/` stays.
    package static func path(_ text: String) -> String { escape(text, keepingSlash: true) }

    /// `?a=b&c=d`, or nothing. Parameters without a value are names alone.
    package static func query(_ parameters: [(name: String, value: String?)]) -> String {
        if parameters.isEmpty { return "" }
        return "?"
            + parameters.map { name, value in
                guard let value else { return segment(name) }
                return "\(segment(name))=\(segment(value))"
            }.joined(separator: "&")
    }

    /// Undoes it; nil when an escape is broken or the bytes are no UTF-8.
    package static func decode(_ text: some StringProtocol) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static let digits = Array("0123456789ABCDEF".utf8)

    private static func escape(_ text: String, keepingSlash: Bool) -> String {
        var escaped: [UInt8] = []
        escaped.reserveCapacity(text.utf8.count + 16)
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: escaped.append(byte)
            case 0x2F where keepingSlash: escaped.append(byte)
            default: escaped += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
            }
        }
        return String(decoding: escaped, as: UTF8.self)
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
