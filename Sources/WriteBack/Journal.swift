import Glibc
package import LinuxPlatform

/// What a journal said when it was read: the state it began with, and what happened since.
package struct JournalRecovery: Sendable {
    /// The records of the last checkpoint.
    package let checkpoint: [[UInt8]]
    /// Those behind it, in order.
    package let records: [[UInt8]]
    /// Whether the machine has been running since they were written: then everything that any process was told is there,
    /// synchronized or not.
    package let isSameBoot: Bool
    /// Bytes at the end that were no whole frame. Nobody was promised what they held.
    package let tornBytes: Int
    let number: UInt64
    let nextSequence: UInt64
    let boot: [UInt8]
}

/// The one record of what happened to written files: records in order, and a promise when they are safe.
///
/// It knows nothing of what the records mean. Whoever owns the state that they describe calls `enqueue` while it holds
/// the lock of that state, so that the order of records is the order of changes; then, without the lock, `commit`.
/// The directory belongs to one process: the caller holds a lock on it. Contents are never shown.
package final class Journal: @unchecked Sendable {  // `writer` is touched by the leader alone: see `follow`
    /// Called once, by the thread of some commit, without a lock.
    package typealias Completion = @Sendable (Result<Void, JournalError>) -> Void

    /// Bytes of one record.
    package static let recordLimit = JournalFrame.recordLimit
    /// Bytes of a segment from which on a checkpoint is wanted, if that is not less than four times the last.
    package static let segmentSize = 8 << 20

    private struct State {
        var queue: CommitQueue<Completion>
        var size = 0
        var checkpointSize = 0
    }

    private let state: Lock<State>
    private var writer: SegmentWriter
    private let segmentSize: Int

    /// Reads what is in the directory, and changes nothing.
    ///
    /// - Parameter boot: what the kernel calls this run of the machine; see `thisBoot`.
    /// - Throws: `damaged` when something is missing that was committed at `node`.
    package static func recover(
        _ directory: any WritableDirectory,
        boot: [UInt8]
    ) throws(JournalError) -> JournalRecovery {
        let names: [String]
        do throws(Errno) { names = try directory.names() } catch {
            throw .system(error, during: "list", file: "directory")
        }
        guard let number = names.compactMap(JournalSegment.number).max() else {
            return JournalRecovery(
                checkpoint: [],
                records: [],
                isSameBoot: true,
                tornBytes: 0,
                number: 0,
                nextSequence: 1,
                boot: boot
            )
        }
        let name = JournalSegment.name(number)
        let bytes: [UInt8]
        do throws(Errno) {
            let file = try directory.open(name)
            let size = try file.size()
            if size > JournalSegment.sizeLimit { throw Errno(EFBIG) }
            bytes = try file.bytes(0..<size)
        } catch {
            throw .system(error, during: "read", file: name)
        }
        let contents = try JournalSegment.parse(bytes, file: name)
        guard contents.header.number == number else {
            throw .damaged(file: name, offset: 0, reason: "it calls itself number \(contents.header.number)")
        }
        return JournalRecovery(
            checkpoint: Array(contents.checkpoint.dropFirst()),
            records: contents.records,
            isSameBoot: contents.header.boot == boot,
            tornBytes: contents.tornBytes,
            number: number,
            nextSequence: contents.endSequence,
            boot: boot
        )
    }

    /// Goes on after what was recovered, in a new segment.
    ///
    /// - Parameters:
    ///   - checkpoint: rebuilds the whole state as it is now.
    ///   - segmentSize: for tests.
    package init(
        _ directory: any WritableDirectory,
        after recovery: JournalRecovery,
        checkpoint: [[UInt8]],
        segmentSize: Int = Journal.segmentSize
    ) throws(JournalError) {
        for record in checkpoint { try Self.check(record) }
        writer = try SegmentWriter(
            directory: directory,
            number: recovery.number + 1,
            boot: recovery.boot,
            checkpoint: checkpoint,
            firstSequence: recovery.nextSequence
        )
        self.segmentSize = segmentSize
        let queue = CommitQueue<Completion>(nextSequence: recovery.nextSequence)
        state = Lock(State(queue: queue, size: writer.size, checkpointSize: writer.checkpointSize))
    }

    /// Puts a record behind all others, in memory. Costs no I/O: call it under the lock of the state that it describes.
    ///
    /// - Returns: the position to commit. Committing it commits all before it.
    /// - Throws: `tooLarge`; then nothing was enqueued.
    package func enqueue(_ record: [UInt8]) throws(JournalError) -> JournalPosition {
        try Self.check(record)
        return JournalPosition(sequence: state.withLock { $0.queue.enqueue(record) })
    }

    /// Makes everything up to the position safe. May block for I/O, its own and that of others.
    ///
    /// - Parameter completion: called by this thread or another, before or after this returns. A failure of a write may be
    ///   tried again; the records stay in the queue, and any later commit brings them. After `unsynchronized` nothing
    ///   can be committed until the next start.
    package func commit(_ position: JournalPosition, _ level: JournalLevel, _ completion: @escaping Completion) {
        let decision = state.withLock { state in
            switch level {
            case .process: state.queue.request(.written(through: position.sequence), completion)
            case .node: state.queue.request(.durable(through: position.sequence), completion)
            }
        }
        follow(decision, completion)
    }

    /// Whether the segment has grown so much that a checkpoint should come soon.
    package var wantsCheckpoint: Bool {
        state.withLock { $0.size > max(segmentSize, 4 * $0.checkpointSize) }
    }

    /// Enqueues a checkpoint: records that rebuild the state after everything enqueued so far. Call it under that state's
    /// lock; `commitCheckpoint` performs it.
    ///
    /// - Throws: `tooLarge`.
    package func enqueueCheckpoint(_ records: [[UInt8]]) throws(JournalError) -> JournalCheckpoint {
        for record in records { try Self.check(record) }
        return JournalCheckpoint(number: state.withLock { $0.queue.enqueueCheckpoint(records) })
    }

    /// Begins the new segment. When that fails, the old one goes on; nothing is lost.
    package func commitCheckpoint(_ checkpoint: JournalCheckpoint, _ completion: @escaping Completion) {
        follow(state.withLock { $0.queue.request(.checkpoint(checkpoint.number), completion) }, completion)
    }

    private static func check(_ record: [UInt8]) throws(JournalError) {
        if record.count > recordLimit { throw .tooLarge(count: record.count, limit: recordLimit) }
    }

    private func follow(_ decision: CommitQueue<Completion>.Decision, _ completion: Completion) {
        switch decision {
        case .done(let result): completion(result)
        case .wait: break
        case .lead:
            while let work = state.withLock({ $0.queue.nextWork() }) {
                let outcome = perform(work)
                let ended = state.withLock { state in
                    (state.size, state.checkpointSize) = (writer.size, writer.checkpointSize)
                    return state.queue.finish(work, outcome)
                }
                for (completion, result) in ended { completion(result) }
            }
        }
    }

    /// By the leader only.
    private func perform(_ work: CommitQueue<Completion>.Work) -> CommitQueue<Completion>.Outcome {
        do throws(JournalError) {
            switch work {
            case .append(let records, let first, let durable, let isSynchronized):
                try writer.append(records, firstSequence: first, durableThrough: durable)
                if isSynchronized { try writer.synchronize() }
            case .synchronize: try writer.synchronize()
            case .begin(let checkpoint):
                writer = try writer.next(checkpoint.records, firstSequence: checkpoint.nextSequence)
            }
            return .success
        } catch {
            if case .unsynchronized = error { return .unsynchronized(error) }
            return .failed(error)
        }
    }
}

/// Where a record stands in the order of all.
package struct JournalPosition: Comparable, Sendable {
    let sequence: UInt64

    package static func < (left: Self, right: Self) -> Bool { left.sequence < right.sequence }
}

/// A checkpoint that was enqueued.
package struct JournalCheckpoint: Sendable {
    let number: Int
}

extension Journal {
    /// What the kernel calls this run of the machine, as 16 bytes (proc(5), /proc/sys/kernel/random/boot_id).
    ///
    /// - Throws: when it cannot be read.
    package static func thisBoot() throws(Errno) -> [UInt8] {
        let text = try DurableFile.read("/proc/sys/kernel/random/boot_id", limit: 64)
        let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32 else { throw .noData }
        return stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}
