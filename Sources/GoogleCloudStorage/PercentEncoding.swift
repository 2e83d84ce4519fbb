/// Percent-encoding of object names in URLs: byte by byte, without Unicode normalisation.
///
/// Source: RFC 3986, section 2; Cloud Storage, "Request endpoints: encoding URL path parts".
enum PercentEncoding {
    /// For one path segment of the JSON API, or a query value: all but `A-Za-z0-9-._~` is escaped, `/` included.
    static func segment(_ text: String) -> String { escape(text, keepingSlash: false) }

    /// For a path of the XML API, where `/` stays.
    static func path(_ text: String) -> String { escape(text, keepingSlash: true) }

    /// `?a=b&c=d`, or nothing. Parameters without a value are names alone.
    static func query(_ parameters: [(name: String, value: String?)]) -> String {
        if parameters.isEmpty { return "" }
        return "?"
            + parameters.map { name, value in
                guard let value else { return segment(name) }
                return "\(segment(name))=\(segment(value))"
            }.joined(separator: "&")
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
}
