import Checksums
package import LinuxPlatform

/// What the journal keeps of a staged file: all that is needed to go on with the bytes that are on stable storage.
package struct StagedFileRecord: Hashable, Sendable {
    /// Ranges that one record may name: a file in more pieces cannot be made safe (`EFBIG`).
    package static let rangeLimit = 100_000
    /// Checksums that one record may have; others are left out, and their bytes are unproven after a restart.
    package static let runLimit = ChecksumRuns.limit

    package var size: Int
    package var kept: Int
    /// Handed to the kernel: there as long as the machine runs.
    package var written: ExtentMap
    /// On stable storage.
    package var synced: ExtentMap
    package var runs: [ChecksumRuns.Run]
    package var isSealed: Bool
    package var failure: Errno?

    package init(
        size: Int,
        kept: Int,
        written: ExtentMap,
        synced: ExtentMap,
        runs: [ChecksumRuns.Run],
        isSealed: Bool,
        failure: Errno?
    ) {
        self.size = size
        self.kept = kept
        self.written = written
        self.synced = synced
        self.runs = runs
        self.isSealed = isSealed
        self.failure = failure
    }

    func encode(_ fields: inout FieldWriter) {
        fields.count(size)
        fields.count(kept)
        fields.flag(isSealed)
        fields.number(failure?.code ?? 0)
        for map in [written, synced] {
            fields.number(UInt32(map.ranges.count))
            for range in map.ranges { Self.encode(range, &fields) }
        }
        fields.number(UInt32(runs.count))
        for run in runs {
            Self.encode(run.range, &fields)
            fields.number(run.crc32c.value)
        }
    }

    private static func encode(_ range: Range<Int>, _ fields: inout FieldWriter) {
        fields.count(range.lowerBound)
        fields.count(range.count)
    }

    init(_ fields: inout FieldReader) throws(FieldError) {
        size = try fields.count()
        kept = try fields.count(limit: size)
        isSealed = try fields.flag()
        let code = try fields.number(Int32.self)
        failure = code == 0 ? nil : Errno(code)
        written = try Self.map(&fields, upTo: size)
        synced = try Self.map(&fields, upTo: size)
        runs = []
        var end = 0
        for _ in 0..<(try Self.count(&fields, limit: Self.runLimit, bytesEach: 20)) {
            let range = try Self.range(&fields, after: end, upTo: size)
            end = range.upperBound
            runs.append(.init(range: range, crc32c: CRC32C(try fields.number(UInt32.self))))
        }
    }

    private static func map(_ fields: inout FieldReader, upTo size: Int) throws(FieldError) -> ExtentMap {
        var map = ExtentMap()
        for _ in 0..<(try count(&fields, limit: rangeLimit, bytesEach: 16)) {
            map.insert(try range(&fields, after: map.end, upTo: size))
        }
        return map
    }

    private static func count(_ fields: inout FieldReader, limit: Int, bytesEach: Int) throws(FieldError) -> Int {
        let count = Int(try fields.number(UInt32.self))
        guard count <= limit else { throw .outOfBounds }
        guard count * bytesEach <= fields.remaining else { throw .cutShort }
        return count
    }

    private static func range(
        _ fields: inout FieldReader,
        after start: Int,
        upTo end: Int
    ) throws(FieldError) -> Range<Int> {
        let lower = try fields.count(limit: end)
        let count = try fields.count(limit: end - lower)
        guard lower >= start, count > 0 else { throw .outOfBounds }
        return lower..<(lower + count)
    }

    /// Whether a record can name all pieces of the file.
    package var fits: Bool { max(written.ranges.count, synced.ranges.count) <= Self.rangeLimit }

    /// The bytes of the record.
    package var encoded: [UInt8] {
        var fields = FieldWriter()
        encode(&fields)
        return fields.bytes
    }

    /// Reads a record; nil for anything else. Every number is checked: no range is beyond the size, or out of order.
    package init?(decoding bytes: [UInt8]) {
        var fields = FieldReader(bytes[...])
        guard let record = try? StagedFileRecord(&fields), fields.remaining == 0 else { return nil }
        self = record
    }
}
