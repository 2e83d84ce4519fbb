import LinuxPlatform

/// The segment that is written, and the birth of the next: the only place that changes the journal's files. One caller at
/// a time.
struct SegmentWriter {
    private let directory: any WritableDirectory
    private let boot: [UInt8]
    private var file: any WritableFile
    private(set) var number: UInt64
    private var salt: UInt64
    /// Where the next frame goes.
    private(set) var size: Int
    /// Bytes of the header and the checkpoint.
    private(set) var checkpointSize: Int

    private var name: String { JournalSegment.name(number) }

    /// Writes a new segment, makes it the journal, and removes the others.
    ///
    /// - Throws: when it is not the journal; `unsynchronized` when nobody knows whether it is.
    init(
        directory: any WritableDirectory,
        number: UInt64,
        boot: [UInt8],
        checkpoint: [[UInt8]],
        firstSequence: UInt64
    ) throws(JournalError) {
        precondition(boot.count == 16)
        self.directory = directory
        self.number = number
        self.boot = boot
        salt = RandomBytes.number()
        // The empty record lets an empty state be one.
        let records = [[]] + checkpoint
        let header = JournalSegment.Header(
            number: number,
            salt: salt,
            checkpointCount: UInt64(records.count),
            firstSequence: firstSequence,
            boot: boot
        )
        let bytes = header.encoded() + Self.frames(of: records, .checkpoint, from: 1, durableThrough: 0, salt: salt)
        guard bytes.count <= JournalSegment.sizeLimit / 4 else {
            throw .tooLarge(count: bytes.count, limit: JournalSegment.sizeLimit / 4)
        }
        size = bytes.count
        checkpointSize = bytes.count
        let name = JournalSegment.name(number)
        let temporary = name + JournalSegment.temporarySuffix
        // What an attempt before this one left.
        try? directory.remove(temporary)
        file = try Self.system("make", temporary) { () throws(Errno) in try directory.create(temporary) }
        do throws(JournalError) {
            let file = file
            try Self.system("write", temporary) { () throws(Errno) in try file.write(bytes, at: 0) }
            try Self.system("synchronize", temporary) { () throws(Errno) in try file.synchronizeData() }
            try Self.system("rename", temporary) { () throws(Errno) in try directory.rename(temporary, to: name) }
        } catch {
            try? directory.remove(temporary)
            throw error
        }
        do throws(Errno) { try directory.synchronize() } catch { throw .unsynchronized(error, file: name) }
        removeOthers()
    }

    /// The segment that follows, in place of this one.
    func next(_ checkpoint: [[UInt8]], firstSequence: UInt64) throws(JournalError) -> SegmentWriter {
        try SegmentWriter(
            directory: directory,
            number: number + 1,
            boot: boot,
            checkpoint: checkpoint,
            firstSequence: firstSequence
        )
    }

    /// Writes records behind the last; a failed attempt is written over by the next.
    mutating func append(
        _ records: [[UInt8]],
        firstSequence: UInt64,
        durableThrough: UInt64
    ) throws(JournalError) {
        let bytes = Self.frames(of: records, .records, from: firstSequence, durableThrough: durableThrough, salt: salt)
        let (file, size) = (file, size)
        try Self.system("write", name) { () throws(Errno) in try file.write(bytes, at: size) }
        self.size += bytes.count
    }

    func synchronize() throws(JournalError) {
        do throws(Errno) { try file.synchronizeData() } catch { throw .unsynchronized(error, file: name) }
    }

    /// A segment that stays is older than this one, and is never read.
    private func removeOthers() {
        guard let names = try? directory.names() else { return }
        for name in names where name != self.name {
            let finished = name.hasSuffix(JournalSegment.temporarySuffix) ? String(name.dropLast(4)) : name
            if JournalSegment.number(finished) != nil { try? directory.remove(name) }
        }
    }

    private static func frames(
        of records: [[UInt8]],
        _ kind: JournalFrame.Kind,
        from firstSequence: UInt64,
        durableThrough: UInt64,
        salt: UInt64
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        var start = 0
        while start < records.count {
            var end = start
            var size = 0
            repeat {
                size += records[end].count + 4
                end += 1
            } while end < records.count && size + records[end].count + 4 <= JournalFrame.softLimit
            let frame = JournalFrame(
                kind: kind,
                firstSequence: firstSequence + UInt64(start),
                durableThrough: durableThrough,
                records: Array(records[start..<end])
            )
            bytes += frame.encoded(salt: salt)
            start = end
        }
        return bytes
    }

    private static func system<Value>(
        _ call: String,
        _ file: String,
        _ body: () throws(Errno) -> Value
    ) throws(JournalError) -> Value {
        do throws(Errno) { return try body() } catch { throw .system(error, during: call, file: file) }
    }
}
