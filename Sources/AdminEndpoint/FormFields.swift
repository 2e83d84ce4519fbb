/// `application/x-www-form-urlencoded`: what `curl --data-urlencode` sends, and our own commands.
///
/// Source: RFC 3986, section 2.1, and the URL standard's form serializer.
package struct FormFields: Hashable, Sendable {
    /// Pairs, in order; names may stand again and again.
    package struct Field: Hashable, Sendable {
        package let name: String
        package let value: String
    }

    package static let maximumFields = 10_000

    package private(set) var fields: [Field] = []

    package init() {}

    /// Nil for a malformed escape, for bytes that are not UTF-8, and for more than `maximumFields`.
    package init?(decoding bytes: some Collection<UInt8>) {
        for part in bytes.split(separator: UInt8(ascii: "&")) {
            let pieces = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(pieces[0]), let value = pieces.count > 1 ? Self.decoded(pieces[1]) : "",
                fields.count < Self.maximumFields
            else { return nil }
            add(name, value)
        }
    }

    package mutating func add(_ name: String, _ value: String) { fields.append(Field(name: name, value: value)) }

    /// All values of a name.
    package func all(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }

    /// Whether a name stands there with a value that means yes, or with none.
    package func flag(_ name: String) -> Bool {
        fields.contains { $0.name == name && ["", "1", "true", "yes"].contains($0.value) }
    }

    /// The text that `init(decoding:)` reads.
    package var encoded: [UInt8] {
        Array(
            fields.map { Self.encoded($0.name) + [UInt8(ascii: "=")] + Self.encoded($0.value) }
                .joined(separator: [UInt8(ascii: "&")])
        )
    }

    private static func encoded(_ text: String) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.utf8.flatMap { byte -> [UInt8] in
            let isPlain =
                0x30...0x39 ~= byte || 0x61...0x7A ~= byte | 0x20 && byte > 0x40 || "-._~/".utf8.contains(byte)
            return isPlain ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }

    private static func decoded(_ bytes: some Collection<UInt8>) -> String? {
        var decoded: [UInt8] = []
        var rest = Array(bytes)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): decoded.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                    return nil
                }
                decoded.append(high << 4 | low)
            default: decoded.append(byte)
            }
        }
        return String(validating: decoded, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
