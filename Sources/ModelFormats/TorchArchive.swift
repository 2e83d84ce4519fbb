import ObjectStorage

/// Where the members of a zip stand, from its end: what torch.save writes, always with ZIP64 records.
///
/// Source: PKWARE APPNOTE 6.3, sections 4.3.12 to 4.3.16 and 4.5.3. Only archives on one disk.
struct TorchArchive: Sendable {
    private static let endSignature: UInt32 = 0x0605_4b50
    private static let endLength = 22
    private static let locatorSignature: UInt32 = 0x0706_4b50
    private static let locatorLength = 20
    private static let longEndSignature: UInt32 = 0x0606_4b50
    private static let longEndLength = 56
    private static let entrySignature: UInt32 = 0x0201_4b50
    private static let entryLength = 46
    /// torch writes no comment behind the directory's end, so it stands in the last bytes.
    private static let tailLength = 64 << 10
    private static let headLength = 64 << 10

    private let size: Int

    init(size: Int) { self.size = size }

    /// The bytes to begin with; nil for a file that is too short.
    var tail: ByteRange? {
        guard size >= Self.endLength else { return nil }
        let count = min(size, Self.tailLength)
        return ByteRange(offset: size - count, count: count)
    }

    /// - Parameters:
    ///   - range: the tail, or the directory that the tail told of.
    ///   - bytes: of the range.
    func next(_ range: ByteRange, _ bytes: [UInt8]) throws(FormatError) -> HeaderReading.Step {
        guard range.end == size else { return .done(try plan(directory: range, bytes)) }
        let directory = try directory(range, bytes)
        if directory.offset >= range.offset {
            let start = directory.offset - range.offset
            return .done(try plan(directory: directory, Array(bytes[start..<start + directory.count])))
        }
        guard directory.count <= HeaderReading.limit else { throw FormatError("the directory is too long") }
        return .read(directory)
    }

    /// Where the central directory is.
    private func directory(_ tail: ByteRange, _ bytes: [UInt8]) throws(FormatError) -> ByteRange {
        guard let end = lastEnd(bytes) else { throw FormatError("no end of a directory") }
        var count = Int(bytes.littleEndian(at: end + 12, as: UInt32.self))
        var offset = Int(bytes.littleEndian(at: end + 16, as: UInt32.self))
        var limit = tail.offset + end
        let locator = end - Self.locatorLength
        if locator >= 0, bytes.littleEndian(at: locator, as: UInt32.self) == Self.locatorSignature {
            let place = bytes.littleEndian(at: locator + 8, as: UInt64.self)
            guard place >= UInt64(tail.offset), place <= UInt64(tail.offset + locator - Self.longEndLength) else {
                throw FormatError("the end of the directory is not where it is said to be")
            }
            let record = Int(place) - tail.offset
            guard bytes.littleEndian(at: record, as: UInt32.self) == Self.longEndSignature,
                let longCount = Int(exactly: bytes.littleEndian(at: record + 40, as: UInt64.self)),
                let longOffset = Int(exactly: bytes.littleEndian(at: record + 48, as: UInt64.self))
            else { throw FormatError("no end of a long directory") }
            (count, offset, limit) = (longCount, longOffset, Int(place))
        }
        guard count > 0, offset <= limit, count <= limit - offset else {
            throw FormatError("a directory that is not inside of the file")
        }
        return ByteRange(offset: offset, count: count)
    }

    /// The last place where a directory's end can stand.
    private func lastEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= Self.endLength else { return nil }
        return stride(from: bytes.count - Self.endLength, through: 0, by: -1).first { place in
            bytes[place] == 0x50 && bytes.littleEndian(at: place, as: UInt32.self) == Self.endSignature
        }
    }

    private func plan(directory: ByteRange, _ bytes: [UInt8]) throws(FormatError) -> ReadPlan {
        var starts: [Int] = []
        var place = 0
        while place < bytes.count {
            guard place + Self.entryLength <= bytes.count,
                bytes.littleEndian(at: place, as: UInt32.self) == Self.entrySignature
            else { throw FormatError("an entry of the directory is none") }
            let name = Int(bytes.littleEndian(at: place + 28, as: UInt16.self))
            let extra = Int(bytes.littleEndian(at: place + 30, as: UInt16.self))
            let comment = Int(bytes.littleEndian(at: place + 32, as: UInt16.self))
            let end = place + Self.entryLength + name + extra + comment
            guard end <= bytes.count else { throw FormatError("an entry of the directory is cut off") }
            let extras = place + Self.entryLength + name
            let start = try start(bytes, entry: place, extras: extras..<extras + extra)
            guard start < directory.offset else { throw FormatError("a member that is not inside of the archive") }
            starts.append(start)
            if starts.count > ReadPlan.maximumPieces { throw FormatError("too many members") }
            place = end
        }
        let tailStart = min(directory.offset, max(0, size - Self.tailLength))
        return ReadPlan(
            format: .torchArchive,
            pinned: [
                ByteRange(offset: 0, count: min(size, Self.headLength)),
                ByteRange(offset: tailStart, count: size - tailStart),
            ],
            pieceEnds: ReadPlan.ends(starts + [directory.offset], size: size)
        )
    }

    /// Where a member begins, by its entry or the entry's ZIP64 field: that holds only what the entry has no room for, in
    /// order: size, compressed size, offset.
    private func start(_ bytes: [UInt8], entry: Int, extras: Range<Int>) throws(FormatError) -> Int {
        let short = bytes.littleEndian(at: entry + 42, as: UInt32.self)
        guard short == .max else { return Int(short) }
        let before = [24, 20].count { bytes.littleEndian(at: entry + $0, as: UInt32.self) == .max } * 8
        var place = extras.lowerBound
        while place + 4 <= extras.upperBound {
            let length = Int(bytes.littleEndian(at: place + 2, as: UInt16.self))
            if bytes.littleEndian(at: place, as: UInt16.self) == 1, length >= before + 8,
                place + 4 + length <= extras.upperBound,
                let start = Int(exactly: bytes.littleEndian(at: place + 4 + before, as: UInt64.self))
            {
                return start
            }
            place += 4 + length
        }
        throw FormatError("a member without a place")
    }
}
