import Checksums
import LinuxPlatform

/// A file of the journal: a header, the frames of a checkpoint, the frames that came after.
enum JournalSegment {
    static let headerSize = 96
    static let version: UInt32 = 1
    private static let magic = Array("PENSTJNL".utf8)
    /// Bytes of a segment that a reader accepts. A writer begins a new one long before.
    static let sizeLimit = 512 << 20

    static func name(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return "journal-" + String(repeating: "0", count: 16 - digits.count) + digits
    }

    static let temporarySuffix = ".tmp"

    /// The number of a segment of this name; nil for other files, unfinished segments included.
    static func number(_ name: String) -> UInt64? {
        guard name.hasPrefix("journal-"), name.utf8.count == 24, let number = UInt64(name.dropFirst(8), radix: 16),
            name == Self.name(number)
        else { return nil }
        return number
    }

    struct Header: Hashable, Sendable {
        var number: UInt64
        /// Random: frames of another segment, and what applications write into names, are never taken for frames of this.
        var salt: UInt64
        /// How many records the checkpoint has; 1 at least.
        var checkpointCount: UInt64
        /// The sequence number of the first record behind the checkpoint; 1 at least.
        var firstSequence: UInt64
        /// What the kernel calls this run of the machine, as 16 bytes.
        var boot: [UInt8]

        func encoded() -> [UInt8] {
            var fields = FieldWriter()
            for byte in magic { fields.number(byte) }
            fields.number(version)
            fields.number(UInt32(headerSize))
            fields.number(number)
            fields.number(salt)
            fields.number(checkpointCount)
            fields.number(firstSequence)
            for byte in boot { fields.number(byte) }
            let padding = [UInt8](repeating: 0, count: headerSize - 4 - fields.bytes.count)
            let sealed = fields.bytes + padding
            fields = FieldWriter()
            fields.number(CRC32C.of(sealed).value)
            return sealed + fields.bytes
        }

        static func decode(_ bytes: [UInt8], file: String) throws(JournalError) -> Header {
            let damage = JournalError.damaged(file: file, offset: 0, reason: "its header does not match its checksum")
            guard bytes.count >= headerSize, Array(bytes.prefix(magic.count)) == magic else { throw damage }
            var seal = FieldReader(bytes[(headerSize - 4)..<headerSize])
            guard (try? seal.number(UInt32.self)) == CRC32C.of(Array(bytes[..<(headerSize - 4)])).value else {
                throw damage
            }
            var fields = FieldReader(bytes[magic.count..<headerSize])
            guard let format = try? fields.number(UInt32.self), (try? fields.number(UInt32.self)) != nil,
                let number = try? fields.number(UInt64.self), let salt = try? fields.number(UInt64.self),
                let count = try? fields.number(UInt64.self), let first = try? fields.number(UInt64.self),
                let boot = try? fields.take(16)
            else { throw damage }
            if format != version { throw .newer(file: file, version: format) }
            guard first > 0, count > 0 else { throw damage }
            return Header(
                number: number,
                salt: salt,
                checkpointCount: count,
                firstSequence: first,
                boot: Array(boot)
            )
        }
    }

    /// What a segment says.
    struct Contents: Sendable {
        var header: Header
        var checkpoint: [[UInt8]] = []
        var records: [[UInt8]] = []
        var endSequence: UInt64
        /// Bytes behind the last valid frame, which nobody was promised.
        var tornBytes = 0
    }

    /// Reads a whole segment.
    ///
    /// - Throws: `damaged` when records are missing that had been on stable storage.
    static func parse(_ bytes: [UInt8], file: String) throws(JournalError) -> Contents {
        let header = try Header.decode(bytes, file: file)
        var contents = Contents(header: header, endSequence: header.firstSequence)
        var offset = headerSize
        while UInt64(contents.checkpoint.count) < header.checkpointCount {
            guard let (frame, count) = JournalFrame.decode(bytes[offset...], salt: header.salt),
                frame.kind == .checkpoint, frame.firstSequence == UInt64(contents.checkpoint.count) + 1,
                frame.endSequence <= header.checkpointCount + 1
            else {
                throw .damaged(file: file, offset: offset, reason: "the checkpoint that it begins with is not whole")
            }
            contents.checkpoint += frame.records
            offset += count
        }
        while let (frame, count) = JournalFrame.decode(bytes[offset...], salt: header.salt),
            frame.kind == .records, frame.firstSequence == contents.endSequence
        {
            contents.records += frame.records
            contents.endSequence = frame.endSequence
            offset += count
        }
        let end = contents.endSequence
        if let later = laterFrame(bytes[offset...], header.salt), later.durableThrough >= end {
            let lost = "records \(end) to \(later.durableThrough) had been synchronized and cannot be read"
            throw .damaged(file: file, offset: offset, reason: lost)
        }
        contents.tornBytes = bytes.count - offset
        return contents
    }

    /// The frame behind the first invalid one that vouches for the most.
    private static func laterFrame(_ bytes: ArraySlice<UInt8>, _ salt: UInt64) -> JournalFrame? {
        var best: JournalFrame?
        var offset = bytes.startIndex
        while bytes.endIndex - offset >= JournalFrame.headerSize {
            if let (frame, count) = JournalFrame.decode(bytes[offset...], salt: salt) {
                if frame.durableThrough >= best?.durableThrough ?? 0 { best = frame }
                offset += count
            } else {
                offset += JournalFrame.alignment
            }
        }
        return best
    }
}
