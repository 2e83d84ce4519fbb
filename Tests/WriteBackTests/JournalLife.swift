import Checksums
import LinuxPlatform
import TestSupport

@testable import WriteBack

/// A state whose loss shows: the numbers 0..<count, each brought by one record. A checkpoint is the count.
struct JournalLife {
    /// What the life was told, and what it did; survives it.
    struct Promises {
        /// Numbers that were committed so that the machine may die.
        var node = 0
        /// Numbers that were committed so that the process may die.
        var process = 0
        /// Numbers that were enqueued.
        var enqueued = 0
    }

    /// A record says its number, and has some weight.
    static func record(_ number: Int) -> [UInt8] {
        var fields = FieldWriter()
        fields.count(number)
        fields.blob([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number * 37 % 700))
        return fields.bytes
    }

    static func checkpoint(_ count: Int) -> [[UInt8]] {
        var fields = FieldWriter()
        fields.count(count)
        return [fields.bytes]
    }

    /// How many numbers a recovered journal knows.
    ///
    /// - Throws: when they are not the numbers from 0 on, or their records are not what was written.
    static func count(_ recovery: JournalRecovery) throws -> Int {
        var count = 0
        for record in recovery.checkpoint {
            var fields = FieldReader(record[...])
            count = try fields.count()
        }
        for record in recovery.records {
            guard record == Self.record(count) else { throw Wrong(what: "the record where \(count) should be") }
            count += 1
        }
        return count
    }

    struct Wrong: Error { var what: String }

    static let boot = [UInt8](repeating: 7, count: 16)

    /// Recovers, and goes on until the disk dies or the operations are over. `promises` never say too much.
    static func run(_ disk: ForgetfulDisk, seed: UInt64, operations: Int, _ promises: inout Promises) throws {
        var random = SeededRandom(seed: seed)
        let recovery: JournalRecovery
        let journal: Journal
        var count = 0
        do {
            recovery = try Journal.recover(disk.directory, boot: boot)
            count = try Self.count(recovery)
            journal = try Journal(disk.directory, after: recovery, checkpoint: checkpoint(count), segmentSize: 3000)
        } catch let error as JournalError {
            if disk.isDead { return }
            throw error
        }
        promises = Promises(node: count, process: count, enqueued: count)
        for _ in 0..<operations where !disk.isDead {
            let position = try journal.enqueue(record(count))
            count += 1
            promises.enqueued = count
            if journal.wantsCheckpoint {
                let number = try journal.enqueueCheckpoint(checkpoint(count))
                if succeeds({ journal.commitCheckpoint(number, $0) }) { promises.node = count }
            }
            switch random.next() % 4 {
            case 0: if succeeds({ journal.commit(position, .process, $0) }) { promises.process = count }
            case 1: if succeeds({ journal.commit(position, .node, $0) }) { promises.node = count }
            default: break
            }
        }
    }

    static func succeeds(_ commit: (@escaping Journal.Completion) -> Void) -> Bool {
        let result = Lock<Result<Void, JournalError>?>(nil)
        commit { outcome in result.withLock { $0 = outcome } }
        // Nobody else is there: it has ended.
        if case .success = result.withLock({ $0 }) { return true } else { return false }
    }
}

extension FieldWriter {
    /// The checksum of a header, as it stands behind it.
    static func sealing(_ bytes: [UInt8]) -> [UInt8] {
        var fields = FieldWriter()
        fields.number(CRC32C.of(bytes).value)
        return fields.bytes
    }
}
