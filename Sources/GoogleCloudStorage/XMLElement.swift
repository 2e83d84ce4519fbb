/// An element of the XML API's replies: a name, its text, its children. Attributes and comments are passed over.
///
/// Reads what the API writes and no more: no document types, no entities but the five of XML and numeric ones, so
/// nothing that expands. Bounded in depth and number. Source: XML 1.0; Cloud Storage, "XML API reference".
struct XMLElement: Sendable, Equatable {
    static let maximumDepth = 16
    static let maximumElements = 100_000

    var name: String
    var text = ""
    var children: [XMLElement] = []

    /// The text of the first child of the name.
    subscript(_ child: String) -> String? { children.first { $0.name == child }?.text }

    func all(_ child: String) -> [XMLElement] { children.filter { $0.name == child } }

    /// The root element, or nil when the bytes are not such a document.
    static func parse(_ bytes: [UInt8]) -> XMLElement? {
        var parser = XMLParser(bytes: bytes)
        return parser.document()
    }
}

private struct XMLParser {
    let bytes: [UInt8]
    var index = 0
    var elements = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { index = 3 }
    }

    mutating func document() -> XMLElement? {
        guard skipBetween(), let root = element(depth: 0), skipBetween(), index == bytes.count else { return nil }
        return root
    }

    /// White space, comments and processing instructions; false when one of them does not end.
    private mutating func skipBetween() -> Bool {
        while index < bytes.count {
            if isSpace(bytes[index]) {
                index += 1
            } else if starts("<?") {
                guard skip(past: "?>") else { return false }
            } else if starts("<!--") {
                guard skip(past: "-->") else { return false }
            } else {
                return true
            }
        }
        return true
    }

    private mutating func element(depth: Int) -> XMLElement? {
        elements += 1
        guard depth < XMLElement.maximumDepth, elements <= XMLElement.maximumElements, take("<"),
            let name = elementName(), let isEmpty = endOfTag()
        else { return nil }
        var element = XMLElement(name: name)
        if isEmpty { return element }
        var text: [UInt8] = []
        while index < bytes.count {
            if starts("</") {
                index += 2
                guard elementName() == name else { return nil }
                skipSpaces()
                guard take(">") else { return nil }
                element.text = String(decoding: text, as: UTF8.self)
                return element
            }
            guard content(into: &element, &text, depth) else { return nil }
        }
        return nil
    }

    private mutating func content(into element: inout XMLElement, _ text: inout [UInt8], _ depth: Int) -> Bool {
        if starts("<!--") { return skip(past: "-->") }
        if starts("<?") { return skip(past: "?>") }
        if starts("<![CDATA[") {
            let start = index + 9
            guard skip(past: "]]>") else { return false }
            text += bytes[start..<(index - 3)]
            return true
        }
        if bytes[index] == UInt8(ascii: "<") {
            guard let child = self.element(depth: depth + 1) else { return false }
            element.children.append(child)
            return true
        }
        if bytes[index] == UInt8(ascii: "&") {
            guard let scalar = reference() else { return false }
            text += Array(String(scalar).utf8)
            return true
        }
        text.append(bytes[index])
        index += 1
        return true
    }

    /// `&amp;` and its like, `&#10;`, `&#xA;`.
    private mutating func reference() -> Unicode.Scalar? {
        guard let end = bytes[index...].prefix(12).firstIndex(of: UInt8(ascii: ";")) else { return nil }
        let name = String(decoding: bytes[(index + 1)..<end], as: UTF8.self)
        index = end + 1
        switch name {
        case "amp": return "&"
        case "lt": return "<"
        case "gt": return ">"
        case "quot": return "\""
        case "apos": return "'"
        default:
            guard name.hasPrefix("#") else { return nil }
            let digits = name.dropFirst()
            let value = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits, radix: 10)
            return value.flatMap(Unicode.Scalar.init)
        }
    }

    /// Past the attributes; whether the tag closes itself. Nil when it does not end.
    private mutating func endOfTag() -> Bool? {
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: ">"):
                index += 1
                return false
            case UInt8(ascii: "/"):
                index += 1
                return take(">") ? true : nil
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                guard let close = bytes[(index + 1)...].firstIndex(of: bytes[index]) else { return nil }
                index = close + 1
            case UInt8(ascii: "<"): return nil
            default: index += 1
            }
        }
        return nil
    }

    /// The name without its namespace prefix.
    private mutating func elementName() -> String? {
        let start = index
        while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
        let name = bytes[start..<index]
        guard !name.isEmpty, name.count <= 128 else { return nil }
        return String(decoding: name.split(separator: UInt8(ascii: ":")).last ?? [], as: UTF8.self)
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x3A, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }

    private mutating func skipSpaces() { while index < bytes.count, isSpace(bytes[index]) { index += 1 } }

    private func starts(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[index...].starts(with: $0) }
    }

    private mutating func take(_ text: StaticString) -> Bool {
        guard starts(text) else { return false }
        index += text.utf8CodeUnitCount
        return true
    }

    private mutating func skip(past text: StaticString) -> Bool {
        while index < bytes.count {
            if take(text) { return true }
            index += 1
        }
        return false
    }
}
