import Checksums

/// What one write brings to a segment: records behind a header that seals them.
///
/// All numbers are little-endian: magic, length of the payload, the segment's salt, sequence number of the first record,
/// the last record that was known to be on stable storage, number of records, CRC32C of everything else. The payload is
/// the records, each behind its length, filled up to a multiple of 8.
struct JournalFrame: Hashable, Sendable {
    enum Kind: UInt32, Sendable {
        /// Numbered through all segments.
        case records = 0x3146_4A50  // "PJF1"
        /// Part of the state that a segment begins with; numbered from 1 in each segment.
        case checkpoint = 0x3143_4A50  // "PJC1"
    }

    static let headerSize = 40
    static let alignment = 8
    /// Bytes of payload that a frame is not made larger than, but for a single record.
    static let softLimit = 1 << 20
    /// Bytes of one record.
    static let recordLimit = 4 << 20
    /// Bytes of payload of any frame: what a reader accepts.
    static let hardLimit = softLimit + recordLimit + 16

    var kind = Kind.records
    var firstSequence: UInt64
    /// All records up to this one had been synchronized when the frame was written.
    var durableThrough: UInt64
    var records: [[UInt8]]

    /// The sequence number behind the last record.
    var endSequence: UInt64 { firstSequence + UInt64(records.count) }

    func encoded(salt: UInt64) -> [UInt8] {
        var payload = FieldWriter()
        for record in records { payload.blob(record) }
        let padding = (Self.alignment - payload.bytes.count % Self.alignment) % Self.alignment
        var frame = FieldWriter()
        frame.number(kind.rawValue)
        frame.number(UInt32(payload.bytes.count + padding))
        frame.number(salt)
        frame.number(firstSequence)
        frame.number(durableThrough)
        frame.number(UInt32(records.count))
        let body = payload.bytes + [UInt8](repeating: 0, count: padding)
        let seal = CRC32C.of(frame.bytes).updated(with: body)
        frame.number(seal.value)
        return frame.bytes + body
    }

    /// The frame at the start of `bytes`, and its length; nil when there is none that is valid.
    static func decode(_ bytes: ArraySlice<UInt8>, salt: UInt64) -> (frame: JournalFrame, count: Int)? {
        var reader = FieldReader(bytes)
        guard bytes.count >= headerSize, let kind = (try? reader.number()).flatMap(Kind.init),
            let length = try? reader.number(UInt32.self), length <= hardLimit, length % UInt32(alignment) == 0,
            (try? reader.number(UInt64.self)) == salt,
            let first = try? reader.number(UInt64.self), let durable = try? reader.number(UInt64.self),
            let count = try? reader.number(UInt32.self), let seal = try? reader.number(UInt32.self),
            let payload = try? reader.take(Int(length)), durable < first,
            CRC32C.of(Array(bytes.prefix(headerSize - 4))).updated(with: Array(payload)).value == seal,
            let records = records(in: payload, count: Int(count))
        else { return nil }
        let frame = JournalFrame(kind: kind, firstSequence: first, durableThrough: durable, records: records)
        return (frame, headerSize + Int(length))
    }

    private static func records(in payload: ArraySlice<UInt8>, count: Int) -> [[UInt8]]? {
        // Each takes four bytes at least: a lie about their number costs nothing.
        guard count > 0, count <= payload.count / 4 else { return nil }
        var reader = FieldReader(payload)
        var records: [[UInt8]] = []
        for _ in 0..<count {
            guard let record = try? reader.blob(limit: recordLimit) else { return nil }
            records.append(Array(record))
        }
        return reader.remaining < alignment ? records : nil
    }
}

extension CRC32C {
    fileprivate func updated(with bytes: [UInt8]) -> CRC32C { bytes.withUnsafeBytes { updated(with: $0) } }
}
