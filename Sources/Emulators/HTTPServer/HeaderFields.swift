/// The header fields of a message in the order of the wire; names compare without case.
///
/// Source: RFC 9110, section 5.
package struct HeaderFields: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    package private(set) var fields: [Field] = []

    package init() {}

    package init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { add(name, value) }
    }

    /// The first field of that name; setting replaces every one of them, nil removes them.
    package subscript(name: String) -> String? {
        get { fields.first { isSame($0.name, name) }?.value }
        set {
            guard let newValue else { return fields.removeAll { isSame($0.name, name) } }
            guard let index = fields.firstIndex(where: { isSame($0.name, name) }) else { return add(name, newValue) }
            let spelling = fields[index].name
            fields.removeAll { isSame($0.name, name) }
            fields.insert(Field(name: spelling, value: newValue), at: index)
        }
    }

    /// Appends a field and keeps those of the same name.
    package mutating func add(_ name: String, _ value: String) { fields.append(Field(name: name, value: value)) }

    /// The values of every field of that name.
    package func all(_ name: String) -> [String] { fields.filter { isSame($0.name, name) }.map(\.value) }

    /// Whether a comma-separated list field contains the token, without case.
    package func list(_ name: String, contains token: String) -> Bool {
        all(name).contains { value in
            value.utf8.split(separator: UInt8(ascii: ",")).contains { item in
                isSame(trimmed(String(Substring(item))), token)
            }
        }
    }
}

/// Whether two ASCII texts are equal when case is ignored.
func isSame(_ left: String, _ right: String) -> Bool {
    left.utf8.count == right.utf8.count && zip(left.utf8, right.utf8).allSatisfy { lowered($0) == lowered($1) }
}

func lowered(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

/// The ASCII text in lower case; other bytes stay.
func lowercased(_ text: String) -> String { String(decoding: text.utf8.map(lowered), as: UTF8.self) }

/// The text without spaces and tabs at its ends.
func trimmed(_ text: String) -> String {
    let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
    let bytes = Array(text.utf8)
    guard let first = bytes.firstIndex(where: { !isBlank($0) }), let last = bytes.lastIndex(where: { !isBlank($0) })
    else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
}
