import ObjectStorage

/// The header of a safetensors file: where its tensors are.
///
/// Source: the format description of safetensors: u64 little-endian length N (at most 100 MB), N bytes of JSON that begin
/// with `{` and may be padded with blanks, then data; `data_offsets` count from the end of the header.
enum SafetensorsHeader {
    private static let lengthBytes = 8
    /// The format's own limit for N.
    private static let maximumLength = 100_000_000
    private static let offsetsName = Array("data_offsets".utf8)

    /// - Parameters:
    ///   - head: the file's first bytes.
    ///   - size: of the file.
    static func parse(_ head: [UInt8], size: Int) throws(FormatError) -> HeadProgress {
        guard size >= lengthBytes + 2 else { throw FormatError("too short for a header") }
        guard head.count >= lengthBytes else { return .needs(lengthBytes) }
        let length = head.littleEndian(at: 0, as: UInt64.self)
        guard length <= UInt64(maximumLength), Int(length) <= size - lengthBytes else {
            throw FormatError("the header is longer than the format or the file allows")
        }
        let dataStart = lengthBytes + Int(length)
        if dataStart > HeaderReading.limit { throw FormatError("the header is not looked into: it is too long") }
        guard head.count >= dataStart else { return .needs(dataStart) }
        var ends = [dataStart]
        var scanner = JSONScanner(head[lengthBytes..<dataStart])
        try scanner.object { (scanner, _) throws(FormatError) in
            if let end = try tensorEnd(&scanner, room: size - dataStart) { ends.append(dataStart + end) }
            if ends.count > ReadPlan.maximumPieces { throw FormatError("too many tensors") }
        }
        return .plan(
            ReadPlan(
                format: .safetensors,
                pinned: [ByteRange(offset: 0, count: dataStart)],
                pieceEnds: ReadPlan.ends(ends, size: size)
            )
        )
    }

    /// Where one tensor ends, from the end of the header; nil for what is no tensor (`__metadata__`).
    private static func tensorEnd(_ scanner: inout JSONScanner, room: Int) throws(FormatError) -> Int? {
        var end: Int?
        try scanner.object { (scanner, name) throws(FormatError) in
            guard name.elementsEqual(offsetsName) else { return try scanner.skip() }
            var offsets: [Int] = []
            try scanner.array { (scanner) throws(FormatError) in
                offsets.append(try scanner.natural())
                if offsets.count > 2 { throw FormatError("a tensor with more than two offsets") }
            }
            guard offsets.count == 2, offsets[0] <= offsets[1], offsets[1] <= room else {
                throw FormatError("a tensor that is not inside of the file")
            }
            end = offsets[1]
        }
        return end
    }
}

extension [UInt8] {
    /// A number at an offset; the caller has checked that it is there.
    func littleEndian<Value: FixedWidthInteger>(at offset: Int, as type: Value.Type) -> Value {
        withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }
}
