/// Goes through JSON once, from front to back, and keeps nothing: a header of tens of megabytes costs no tree of values.
///
/// Takes RFC 8259 with depth bounded; what it skips is checked for structure only. A member's name is compared as the
/// bytes that stand there, escapes unresolved, which is right for the names that are looked for here.
struct JSONScanner {
    static let maximumDepth = 64

    private let bytes: ArraySlice<UInt8>
    private(set) var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// Calls `body` for each member, with the bytes of its name. The body must consume the value.
    mutating func object(
        _ body: (inout JSONScanner, ArraySlice<UInt8>) throws(FormatError) -> Void
    ) throws(FormatError) {
        try expect(UInt8(ascii: "{"))
        if take(UInt8(ascii: "}")) { return }
        repeat {
            let name = try string()
            try expect(UInt8(ascii: ":"))
            try body(&self, name)
        } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "}"))
    }

    /// Calls `body` for each element; it must consume the value.
    mutating func array(_ body: (inout JSONScanner) throws(FormatError) -> Void) throws(FormatError) {
        try expect(UInt8(ascii: "["))
        if take(UInt8(ascii: "]")) { return }
        repeat { try body(&self) } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "]"))
    }

    /// A string's bytes between the quotes, escapes as they stand.
    mutating func string() throws(FormatError) -> ArraySlice<UInt8> {
        try expect(UInt8(ascii: "\""))
        let start = position
        while position < bytes.endIndex {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return bytes[start..<position - 1]
            case UInt8(ascii: "\\"): position += 2
            case 0..<0x20: throw FormatError("a control character in a string")
            default: position += 1
            }
        }
        throw FormatError("a string without an end")
    }

    /// A whole number that is not negative.
    mutating func natural() throws(FormatError) -> Int {
        skipBlanks()
        let start = position
        var value = 0
        while position < bytes.endIndex, case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[position] {
            let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = product.addingReportingOverflow(Int(bytes[position] - UInt8(ascii: "0")))
            if isTooLarge || isOver { throw FormatError("a number that is too large") }
            value = sum
            position += 1
        }
        if position == start { throw FormatError("not a whole number") }
        return value
    }

    /// Goes past a value of any kind.
    mutating func skip(depth: Int = 0) throws(FormatError) {
        if depth > Self.maximumDepth { throw FormatError("values too deep in one another") }
        switch peek() {
        case UInt8(ascii: "{"):
            try object { (scanner, _) throws(FormatError) in try scanner.skip(depth: depth + 1) }
        case UInt8(ascii: "["): try array { (scanner) throws(FormatError) in try scanner.skip(depth: depth + 1) }
        case UInt8(ascii: "\""): _ = try string()
        case nil: throw FormatError("a value is missing")
        default: try skipWord()
        }
    }

    /// A number, true, false or null.
    private mutating func skipWord() throws(FormatError) {
        let start = position
        while position < bytes.endIndex, Self.isOfWord(bytes[position]) { position += 1 }
        if position == start { throw FormatError("not a value") }
    }

    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "E"),
            UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    private mutating func skipBlanks() {
        while position < bytes.endIndex, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
    }

    private mutating func peek() -> UInt8? {
        skipBlanks()
        return position < bytes.endIndex ? bytes[position] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(FormatError) {
        if !take(byte) { throw FormatError("expected \(Character(Unicode.Scalar(byte))) at byte \(position)") }
    }
}
