/// How safe a record shall be.
package enum JournalLevel: Sendable {
    /// Handed to the kernel: survives the death of every process, not that of the machine.
    case process
    /// On stable storage.
    case node
}

/// The records of a journal that were enqueued, those who wait for them, and who writes: group commit without I/O.
///
/// One caller at a time leads: it takes work, performs it and reports, until nobody waits. `Waiter` is whatever the owner
/// calls when a commit has ended.
struct CommitQueue<Waiter> {
    enum Need {
        case written(through: UInt64)
        case durable(through: UInt64)
        /// The checkpoint with this number, whatever becomes of it.
        case checkpoint(Int)
    }

    enum Decision {
        case done(Result<Void, JournalError>)
        /// The caller performs `nextWork` until it is nil.
        case lead
        /// Somebody leads, and will call.
        case wait
    }

    struct Checkpoint {
        var number: Int
        var records: [[UInt8]]
        /// The first record that is not part of it.
        var nextSequence: UInt64
    }

    enum Work {
        /// Writes records, and synchronizes if asked to.
        case append(records: [[UInt8]], firstSequence: UInt64, durableThrough: UInt64, isSynchronized: Bool)
        case synchronize
        case begin(Checkpoint)
    }

    enum Outcome {
        case success
        /// Nothing that counts has happened; it may be tried again.
        case failed(JournalError)
        /// Nobody knows what the disk holds.
        case unsynchronized(JournalError)
    }

    /// Records that were not handed to the kernel, in order; the last one has the number before `nextSequence`.
    private var pending: [[UInt8]] = []
    private(set) var nextSequence: UInt64
    private var checkpoint: Checkpoint?
    private var checkpoints = 0
    /// The last checkpoint that was performed, or tried.
    private var ended: (number: Int, result: Result<Void, JournalError>) = (0, .success(()))
    /// The last record that was handed to the kernel.
    private(set) var written: UInt64
    /// The last record that is on stable storage.
    private(set) var durable: UInt64
    private var waiters: [(need: Need, waiter: Waiter)] = []
    private var isLed = false
    private(set) var failure: JournalError?

    /// - Parameter nextSequence: of the first record; all before it are on stable storage.
    init(nextSequence: UInt64) {
        precondition(nextSequence > 0)
        self.nextSequence = nextSequence
        written = nextSequence - 1
        durable = nextSequence - 1
    }

    /// The number of the record.
    mutating func enqueue(_ record: [UInt8]) -> UInt64 {
        pending.append(record)
        nextSequence += 1
        return nextSequence - 1
    }

    /// Asks for a new segment that begins with these records: the state after all records enqueued so far. One that was
    /// asked for and not begun is replaced, and its number is the same.
    mutating func enqueueCheckpoint(_ records: [[UInt8]]) -> Int {
        if checkpoint == nil { checkpoints += 1 }
        checkpoint = Checkpoint(number: checkpoints, records: records, nextSequence: nextSequence)
        return checkpoints
    }

    mutating func request(_ need: Need, _ waiter: Waiter) -> Decision {
        if let failure { return .done(.failure(failure)) }
        if case .checkpoint(let number) = need, number <= ended.number {
            return .done(number == ended.number ? ended.result : .success(()))
        }
        if isMet(need) { return .done(.success(())) }
        waiters.append((need, waiter))
        if isLed { return .wait }
        isLed = true
        return .lead
    }

    private func isMet(_ need: Need) -> Bool {
        switch need {
        case .written(let through): through <= written
        case .durable(let through): through <= durable
        case .checkpoint: false
        }
    }

    /// What the leader does next; nil ends its lead.
    mutating func nextWork() -> Work? {
        guard !waiters.isEmpty else {
            isLed = false
            return nil
        }
        if let checkpoint {
            self.checkpoint = nil
            return .begin(checkpoint)
        }
        var isSynchronized = false
        var wanted = written
        for (need, _) in waiters {
            switch need {
            case .written(let through): wanted = max(wanted, through)
            case .durable(let through):
                wanted = max(wanted, through)
                isSynchronized = true
            case .checkpoint: break
            }
        }
        if wanted == written { return .synchronize }
        return .append(
            records: pending,
            firstSequence: written + 1,
            durableThrough: durable,
            isSynchronized: isSynchronized
        )
    }

    /// Takes note of what became of the work; who is to be called, with what.
    mutating func finish(_ work: Work, _ outcome: Outcome) -> [(Waiter, Result<Void, JournalError>)] {
        switch (work, outcome) {
        case (_, .unsynchronized(let error)):
            failure = error
            checkpoint = nil
            return end(error) { _ in true }
        case (.append(let records, let first, _, let isSynchronized), .success):
            pending.removeFirst(records.count)
            written = first + UInt64(records.count) - 1
            if isSynchronized { durable = written }
        case (.append, .failed(let error)):
            // They stay first in the queue: the next commit tries again.
            let written = written
            return end(error) { need in
                switch need {
                case .written(let through), .durable(let through): through > written
                case .checkpoint: false
                }
            }
        case (.synchronize, .success): durable = written
        case (.synchronize, .failed(let error)):
            failure = error
            return end(error) { _ in true }
        case (.begin(let checkpoint), .success):
            if checkpoint.nextSequence > written + 1 {
                pending.removeFirst(Int(checkpoint.nextSequence - written - 1))
                written = checkpoint.nextSequence - 1
            }
            // What was written to the old segment behind the checkpoint's state: nothing, for the leader was here.
            durable = written
            ended = (checkpoint.number, .success(()))
            return end(nil) { need in Self.isCheckpoint(need, checkpoint.number) } + met()
        case (.begin(let checkpoint), .failed(let error)):
            // The old segment goes on.
            ended = (checkpoint.number, .failure(error))
            return end(error) { need in Self.isCheckpoint(need, checkpoint.number) }
        }
        return met()
    }

    private static func isCheckpoint(_ need: Need, _ number: Int) -> Bool {
        if case .checkpoint(number) = need { true } else { false }
    }

    private mutating func met() -> [(Waiter, Result<Void, JournalError>)] {
        let (written, durable) = (written, durable)
        return end(nil) { need in
            switch need {
            case .written(let through): through <= written
            case .durable(let through): through <= durable
            case .checkpoint: false
            }
        }
    }

    private mutating func end(
        _ error: JournalError?,
        _ isOver: (Need) -> Bool
    ) -> [(Waiter, Result<Void, JournalError>)] {
        let over = waiters.filter { isOver($0.need) }
        waiters.removeAll { isOver($0.need) }
        return over.map { ($0.waiter, error.map { .failure($0) } ?? .success(())) }
    }
}
