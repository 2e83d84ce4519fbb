import Checksums
import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

/// One file that is written, cut and synchronized on a disk that may die, with its records in a journal.
private struct WriterLife {
    /// What the last synchronization promised, and which of it was changed since.
    struct Promise {
        var content: [UInt8] = []
        var changed = ExtentMap()
        /// Sizes that the file had since.
        var sizes: Set<Int> = [0]
    }

    static let layout = PartLayout(smallest: 256, largest: 1024)

    static func run(_ disk: ForgetfulDisk, seed: UInt64, _ promise: inout Promise) throws {
        do {
            let directory = disk.directory
            let recovery = try Journal.recover(directory, boot: JournalLife.boot)
            let journal = try Journal(directory, after: recovery, checkpoint: recovery.checkpoint)
            let file = try StagedFile(creating: "file", in: directory, StagedFileState(layout: layout))
            try operate(file, journal, seed, &promise)
        } catch {
            if !disk.isDead { throw error }
        }
    }

    private static func operate(
        _ file: StagedFile,
        _ journal: Journal,
        _ seed: UInt64,
        _ promise: inout Promise
    ) throws {
        var random = SeededRandom(seed: seed)
        var content: [UInt8] = []
        for _ in 0..<30 {
            switch random.next() % 5 {
            case 0:
                let size = Int(random.next() % 2000)
                promise.changed.insert(min(size, content.count)..<max(size, content.count))
                promise.sizes.insert(size)
                _ = file.withState { $0.truncate(to: size) }
                content = Array(content.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - content.count))
            case 1:
                // Something new, so that the synchronization is needed.
                let news = random.bytes(1 + Int(random.next() % 20))
                promise.changed.insert(content.count..<(content.count + news.count))
                promise.sizes.insert(content.count + news.count)
                let end = content.count
                content += news
                try news.withUnsafeBytes { try file.write($0, at: end) }
                let bytes = try file.synchronize { (record) throws(Errno) in record.encoded }
                let position = try journal.enqueue(bytes)
                if JournalLife.succeeds({ journal.commit(position, .node, $0) }) {
                    promise = Promise(content: content, sizes: [content.count])
                }
            default:
                let offset = random.next() % 2 == 0 ? content.count : Int(random.next() % 2000)
                let bytes = random.bytes(1 + Int(random.next() % 600))
                promise.changed.insert(min(offset, content.count)..<(offset + bytes.count))
                promise.sizes.insert(max(content.count, offset + bytes.count))
                content += [UInt8](repeating: 0, count: max(0, offset + bytes.count - content.count))
                content.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
                try bytes.withUnsafeBytes { try file.write($0, at: offset) }
            }
        }
    }

    /// What is wrong with what the disk holds; nil when the promise is kept.
    static func complaint(_ disk: ForgetfulDisk, _ promise: Promise, isSameBoot: Bool = false) -> String? {
        do {
            let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
            guard let last = recovery.records.last else { return promise.content.isEmpty ? nil : "no record" }
            guard let record = StagedFileRecord(decoding: last) else { return "a record that is none" }
            let file = try StagedFile(
                opening: "file",
                in: disk.directory,
                record,
                isSameBoot: isSameBoot,
                layout: layout
            )
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4000, alignment: 8)
            defer { buffer.deallocate() }
            let count = try file.read(into: buffer, at: 0) { (_, _) throws(Errno) in throw .inputOutput }
            if !promise.sizes.contains(count) { return "\(count) bytes" }
            for (index, byte) in promise.content.enumerated() where !promise.changed.contains(index..<(index + 1)) {
                if index >= count || buffer[index] != byte { return "byte \(index) is lost" }
            }
            let wrong = try file.check(buffer: buffer)
            let unchanged = wrong.filter { !promise.changed.intersects($0) }
            return unchanged.isEmpty ? nil : "\(unchanged) are not what their checksum says"
        } catch {
            return "\(error)"
        }
    }
}

@Suite struct StagedFileTests {
    private static let remains: [ForgetfulDisk.Remains] =
        [.nothing, .everything] + (1...4).map { .anySubset(seed: $0) }

    private func counts(_ seed: UInt64) throws -> (changes: Int, synchronizations: [Int]) {
        let disk = ForgetfulDisk()
        var promise = WriterLife.Promise()
        try WriterLife.run(disk, seed: seed, &promise)
        return (disk.changes, disk.synchronizations)
    }

    @Test(arguments: Array(UInt64(1)...6))
    func atEveryPrefixOfItsWritesNoSyncedByteIsLost(seed: UInt64) throws {
        for last in 0...(try counts(seed).changes) {
            let disk = ForgetfulDisk(faults: .init(diesAtChange: last))
            var promise = WriterLife.Promise()
            try WriterLife.run(disk, seed: seed, &promise)
            for remains in Self.remains {
                let found = WriterLife.complaint(disk.crashed(remains), promise)
                #expect(found == nil, "seed \(seed), died at \(last), \(remains)")
            }
            #expect(
                WriterLife.complaint(disk.restarted(), promise, isSameBoot: true) == nil,
                "seed \(seed), died at \(last)"
            )
        }
    }

    /// The proof that the test above would see it.
    @Test func aSynchronizationThatIsLeftOutIsNoticed() throws {
        let whole = try counts(3)
        var noticed = 0
        for (skipped, change) in whole.synchronizations.enumerated() {
            if try isNoticed(skipped, change) { noticed += 1 }
        }
        // The two with which the journal began are made good for by those that follow, before anything was promised.
        #expect(noticed >= whole.synchronizations.count - 2)
        #expect(noticed > 8)
    }

    private func isNoticed(_ skipped: Int, _ change: Int) throws -> Bool {
        for last in (change + 1)...(change + 8) {
            let disk = ForgetfulDisk(faults: .init(diesAtChange: last, skippedSynchronization: skipped))
            var promise = WriterLife.Promise()
            try WriterLife.run(disk, seed: 3, &promise)
            if Self.remains.contains(where: { WriterLife.complaint(disk.crashed($0), promise) != nil }) { return true }
        }
        return false
    }

    @Test func aFailedSynchronizationIsToldAndStaysFailed() throws {
        let disk = ForgetfulDisk(faults: .init(failedSynchronization: 0))
        let file = try StagedFile(creating: "file", in: disk.directory, StagedFileState())
        try [UInt8](repeating: 1, count: 100).withUnsafeBytes { try file.write($0, at: 0) }
        for _ in 0..<3 {
            #expect(throws: Errno.inputOutput) {
                _ = try file.synchronize { (record) throws(Errno) in record }
            }
        }
    }

    @Test func aFullDiskIsToldAndCountsForNothing() throws {
        let disk = ForgetfulDisk(faults: .init(capacity: 1000))
        let file = try StagedFile(creating: "file", in: disk.directory, StagedFileState())
        let bytes = [UInt8](repeating: 1, count: 800)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        #expect(throws: Errno.noSpace) {
            try bytes.withUnsafeBytes { try file.write($0, at: 800) }
        }
        #expect(file.withState { $0.size } == 800)
        #expect(file.withState { $0.checksum } == CRC32C.of(bytes))
    }

    @Test func aFileThatIsShorterThanItsRecordIsRefused() throws {
        let disk = ForgetfulDisk()
        let record = StagedFileRecord(
            size: 10,
            kept: 0,
            written: ExtentMap(),
            synced: ExtentMap([0..<10]),
            runs: [],
            isSealed: false,
            failure: nil
        )
        #expect(throws: Errno.noEntry) {
            try StagedFile(opening: "file", in: disk.directory, record, isSameBoot: false)
        }
        _ = try disk.directory.create("file")
        #expect(throws: Errno.stale) { try StagedFile(opening: "file", in: disk.directory, record, isSameBoot: false) }
    }

    @Test func aFlippedBitOfTheDiskIsFound() throws {
        let disk = ForgetfulDisk()
        let file = try StagedFile(creating: "file", in: disk.directory, StagedFileState(layout: WriterLife.layout))
        try [UInt8](repeating: 1, count: 600).withUnsafeBytes { try file.write($0, at: 0) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 8)
        defer { buffer.deallocate() }
        #expect(try file.check(buffer: buffer).isEmpty)
        disk.flipBit(3, of: "file", at: 300)
        #expect(try file.check(buffer: buffer) == [256..<512])
        #expect(file.withState { $0.checksum } == nil)
    }

    @Test func manyThreadsWriteOneFileOfARealDisk() throws {
        let folder = try TemporaryDirectory()
        let directory = try LocalDirectory(path: folder.path)
        let file = try StagedFile(creating: "file", in: directory, StagedFileState(layout: WriterLife.layout))
        let threads = try (0..<4).map { thread in
            try NamedThread(name: "write-\(thread)") {
                for index in 0..<64 {
                    let offset = (index * 4 + thread) * 100
                    [UInt8](repeating: UInt8(index), count: 100).withUnsafeBytes { try? file.write($0, at: offset) }
                }
            }
        }
        threads.forEach { $0.join() }
        let expected = (0..<64).flatMap { [UInt8](repeating: UInt8($0), count: 400) }
        #expect(file.withState { $0.checksum } == CRC32C.of(expected))
        _ = try file.synchronize { (record) throws(Errno) in
            #expect(record.synced.ranges == [0..<25_600])
        }
    }
}
