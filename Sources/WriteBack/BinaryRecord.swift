/// Writes the fields of a record, one after the other; numbers little-endian.
struct FieldWriter {
    private(set) var bytes: [UInt8] = []

    mutating func number(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// An offset, a length: never negative.
    mutating func count(_ value: Int) { number(UInt64(value)) }

    mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }

    /// Bytes behind their length.
    mutating func blob(_ value: some Collection<UInt8>) {
        number(UInt32(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func text(_ value: String) { blob(value.utf8) }
}

/// Reads what `FieldWriter` wrote. Every read is checked against the end and against a limit: the bytes may be anything.
struct FieldReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// How many bytes were not read yet.
    var remaining: Int { bytes.endIndex - position }

    mutating func take(_ count: Int) throws(FieldError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw .cutShort }
        defer { position += count }
        return bytes[position..<(position + count)]
    }

    mutating func number<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(FieldError) -> Value {
        let field = try take(MemoryLayout<Value>.size)
        return field.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(as: Value.self)) }
    }

    mutating func count(limit: Int = .max) throws(FieldError) -> Int {
        guard let value = Int(exactly: try number(UInt64.self)), value <= limit else { throw .outOfBounds }
        return value
    }

    mutating func flag() throws(FieldError) -> Bool {
        switch try number(UInt8.self) {
        case 0: false
        case 1: true
        default: throw .outOfBounds
        }
    }

    mutating func blob(limit: Int) throws(FieldError) -> ArraySlice<UInt8> {
        let count = Int(try number(UInt32.self))
        guard count <= limit else { throw .outOfBounds }
        return try take(count)
    }

    mutating func text(limit: Int) throws(FieldError) -> String {
        guard let text = String(validating: try blob(limit: limit), as: UTF8.self) else { throw .notText }
        return text
    }

    /// - Throws: when there is more than was read.
    func end() throws(FieldError) { if remaining > 0 { throw .tooLong } }
}

/// Why bytes are no record. Says nothing of what stands in them.
enum FieldError: String, Error, Sendable {
    case cutShort = "it ends too early"
    case outOfBounds = "a number is out of its bounds"
    case notText = "a text is not UTF-8"
    case tooLong = "it has more bytes than it should"
    case unknownKind = "its kind is unknown"
}
