import Checksums
import ObjectStorage
import TransferEngine

// When the states of a multipart upload are saved, and who waits for it.
//
// A unit that was hashed keeps its buffer until a saved state covers it: so what a kill wastes stays under the buffers,
// as everywhere. One state is saved at a time, and each covers every unit that was ready when it began: the slower the
// store, the longer the spans, and nobody waits for more than two requests.
//
//   unit: pending ──▶ saving ──▶ covered
//            ▲           │ the request failed: a later state tries again; the units let go of their buffers, for a state
//            └───────────┘ is a resume aid and not worth a standstill
//
// Invariants: covered bytes are a prefix of the file; a batch begins where the covered bytes end; at most one batch is
// being saved; once closed, nothing waits.

/// A unit that was hashed, with the hash after it.
struct HashedUnit: Sendable {
    var range: ByteRange
    var granules: [CRC32C]
    var mark: DigestMark
}

/// Decides which units the next state covers. No I/O, no locks.
struct UploadStateQueue<Waiter> {
    private struct Pending {
        var unit: HashedUnit
        var waiter: Waiter?
    }

    /// Every byte before this is covered.
    private(set) var covered: Int
    private let maximumSpan: Int
    private var pending: [Int: Pending] = [:]
    private var saving: [Pending] = []
    private var isClosed = false

    init(from offset: Int, maximumSpan: Int) {
        covered = offset
        self.maximumSpan = maximumSpan
    }

    /// What a unit does now that it is hashed.
    enum Admission {
        /// Nothing more: nobody waits any longer.
        case leave
        /// Wait until told.
        case wait
        /// Save one state for these, in order, then call `saved`.
        case save([HashedUnit])
    }

    mutating func add(_ unit: HashedUnit, _ waiter: Waiter) -> Admission {
        if isClosed { return .leave }
        precondition(unit.range.offset >= covered && pending[unit.range.offset] == nil, "a unit came twice")
        pending[unit.range.offset] = Pending(unit: unit, waiter: waiter)
        guard saving.isEmpty, let batch = nextBatch() else { return .wait }
        // Whoever saves does not wait, whether the batch has its own unit or not.
        for index in saving.indices where saving[index].unit.range == unit.range { saving[index].waiter = nil }
        pending[unit.range.offset]?.waiter = nil
        return .save(batch)
    }

    /// What follows from the end of a save: who may go, and who saves the next batch.
    struct Outcome {
        var released: [Waiter] = []
        var next: (saver: Waiter, batch: [HashedUnit])?
    }

    mutating func saved(_ isSaved: Bool) -> Outcome {
        var outcome = Outcome(released: saving.compactMap(\.waiter))
        if isSaved {
            if let last = saving.last { covered = last.unit.range.end }
        } else {
            for unit in saving { pending[unit.unit.range.offset] = Pending(unit: unit.unit) }
            outcome.released += drainWaiters()
        }
        saving = []
        guard isSaved, !isClosed, let batch = nextBatch() else { return outcome }
        guard let index = saving.firstIndex(where: { $0.waiter != nil }), let saver = saving[index].waiter else {
            // Left by a save that failed; the next unit takes them along.
            for unit in saving { pending[unit.unit.range.offset] = unit }
            saving = []
            return outcome
        }
        saving[index].waiter = nil
        outcome.next = (saver, batch)
        return outcome
    }

    /// The file was given up: nobody waits from now on.
    mutating func close() -> [Waiter] {
        isClosed = true
        return drainWaiters()
    }

    private mutating func drainWaiters() -> [Waiter] {
        let waiters = pending.values.compactMap(\.waiter)
        for offset in pending.keys { pending[offset]?.waiter = nil }
        return waiters
    }

    /// Moves the units that follow on what is covered to `saving`.
    private mutating func nextBatch() -> [HashedUnit]? {
        var end = covered
        while let next = pending[end], next.unit.range.end - covered <= maximumSpan {
            pending[end] = nil
            saving.append(next)
            end = next.unit.range.end
        }
        return saving.isEmpty ? nil : saving.map(\.unit)
    }
}
