import ObjectStorage

/// The header of a GGUF file: where its tensors are.
///
/// Source: ggml, docs/gguf.md, versions 2 and 3, little-endian: magic, version, counts; key-value pairs; tensor infos with
/// offsets from the beginning of the data, which is aligned to `general.alignment` (32 where it is not given).
enum GGUFHeader {
    private static let magic: UInt32 = 0x4655_4747
    private static let alignmentName = Array("general.alignment".utf8)
    private static let defaultAlignment = 32
    private static let maximumAlignment = 1 << 20
    private static let maximumDimensions = 8
    private static let maximumDepth = 4
    /// A name, or a text of the metadata.
    private static let maximumText = 8 << 20

    /// Why parsing stopped.
    private enum Stop: Error {
        /// At least so many bytes are needed.
        case short(Int)
        case wrong(FormatError)
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        mutating func advance(_ count: Int) throws(Stop) {
            guard count >= 0, count <= HeaderReading.limit else { throw .wrong(FormatError("a length too large")) }
            let end = position + count
            guard end <= bytes.count else { throw .short(end) }
            position = end
        }

        mutating func number<Value: FixedWidthInteger>(_ type: Value.Type) throws(Stop) -> Value {
            let start = position
            try advance(MemoryLayout<Value>.size)
            return bytes.littleEndian(at: start, as: type)
        }

        /// A count or an offset.
        mutating func natural(upTo limit: Int) throws(Stop) -> Int {
            guard let value = Int(exactly: try number(UInt64.self)), value <= limit else {
                throw .wrong(FormatError("a count too large"))
            }
            return value
        }

        mutating func text() throws(Stop) -> ArraySlice<UInt8> {
            let count = try natural(upTo: GGUFHeader.maximumText)
            let start = position
            try advance(count)
            return bytes[start..<position]
        }
    }

    /// - Parameters:
    ///   - head: the file's first bytes.
    ///   - size: of the file.
    static func parse(_ head: [UInt8], size: Int) throws(FormatError) -> HeadProgress {
        do throws(Stop) {
            return .plan(try plan(head, size: size))
        } catch {
            switch error {
            case .short(let count): return .needs(count)
            case .wrong(let error): throw error
            }
        }
    }

    private static func plan(_ head: [UInt8], size: Int) throws(Stop) -> ReadPlan {
        var reader = Reader(bytes: head)
        guard try reader.number(UInt32.self) == magic, case 2...3 = try reader.number(UInt32.self) else {
            throw .wrong(FormatError("no GGUF of version 2 or 3"))
        }
        let tensors = try reader.natural(upTo: ReadPlan.maximumPieces)
        let pairs = try reader.natural(upTo: HeaderReading.limit)
        var alignment = defaultAlignment
        for _ in 0..<pairs {
            let isAlignment = try reader.text().elementsEqual(alignmentName)
            let type = try reader.number(UInt32.self)
            if isAlignment, type == 4 {
                alignment = Int(try reader.number(UInt32.self))
            } else {
                try skip(type, &reader, depth: 0)
            }
        }
        guard (1...maximumAlignment).contains(alignment) else { throw .wrong(FormatError("an alignment too large")) }
        var offsets: [Int] = []
        for _ in 0..<tensors {
            _ = try reader.text()
            let dimensions = Int(try reader.number(UInt32.self))
            guard dimensions <= maximumDimensions else { throw .wrong(FormatError("too many dimensions")) }
            try reader.advance(dimensions * 8 + 4)
            offsets.append(try reader.natural(upTo: size))
        }
        let dataStart = (reader.position + alignment - 1) / alignment * alignment
        guard dataStart <= size else { throw .wrong(FormatError("the header is longer than the file")) }
        return ReadPlan(
            format: .gguf,
            pinned: [ByteRange(offset: 0, count: dataStart)],
            pieceEnds: ReadPlan.ends(offsets.map { dataStart + $0 }, size: size)
        )
    }

    /// Goes past a value of the metadata.
    private static func skip(_ type: UInt32, _ reader: inout Reader, depth: Int) throws(Stop) {
        if let count = length(of: type) { return try reader.advance(count) }
        switch type {
        case 8: _ = try reader.text()
        case 9 where depth < maximumDepth:
            let element = try reader.number(UInt32.self)
            let count = try reader.natural(upTo: HeaderReading.limit)
            if let length = length(of: element) { return try reader.advance(count * length) }
            for _ in 0..<count { try skip(element, &reader, depth: depth + 1) }
        default: throw .wrong(FormatError("a value of an unknown kind"))
        }
    }

    /// Bytes of the types that have a fixed length.
    private static func length(of type: UInt32) -> Int? {
        switch type {
        case 0, 1, 7: 1
        case 2, 3: 2
        case 4, 5, 6: 4
        case 10, 11, 12: 8
        default: nil
        }
    }
}
