/// How much of the local disk written files may take, and who waits for room: back-pressure without I/O or clock.
///
/// Writers are served in the order in which they came, so that a small write does not starve a large one. A writer that
/// waits too long is told `ENOSPC` by its owner, who calls `giveUp`.
package struct StagingBudget: Sendable {
    /// A writer that waits.
    package struct Ticket: Hashable, Comparable, Sendable {
        let number: Int

        package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
    }

    package enum Answer: Hashable, Sendable {
        /// The bytes are counted; write.
        case admitted
        /// `release` names the ticket when it is its turn.
        case wait(Ticket)
        /// It would not fit if everything else were gone.
        case never
    }

    /// Bytes that all files together may take.
    package private(set) var limit: Int
    /// Bytes that they take, or that writers were promised.
    package private(set) var used = 0
    private var waiting: [(ticket: Ticket, count: Int)] = []
    private var last = 0

    package init(limit: Int) { self.limit = limit }

    /// How many writers wait.
    package var waiters: Int { waiting.count }

    /// Before bytes are written where none were: those that are written over take no room.
    package mutating func request(_ count: Int) -> Answer {
        if count > limit { return .never }
        if waiting.isEmpty, used + count <= limit {
            used += count
            return .admitted
        }
        last += 1
        let ticket = Ticket(number: last)
        waiting.append((ticket, count))
        return .wait(ticket)
    }

    /// Bytes are not needed any more: published, cut off, unlinked, or promised and not written.
    ///
    /// - Returns: who may write now; their bytes are counted.
    package mutating func release(_ count: Int) -> [Ticket] {
        precondition(count <= used, "more room is given back than was taken")
        used -= count
        return admit()
    }

    /// A writer waited too long, or was interrupted.
    ///
    /// - Returns: nil when it was admitted before; otherwise who may write now instead.
    package mutating func giveUp(_ ticket: Ticket) -> [Ticket]? {
        guard let index = waiting.firstIndex(where: { $0.ticket == ticket }) else { return nil }
        waiting.remove(at: index)
        return admit()
    }

    /// The disk has more room, or less. What is used above it stays.
    ///
    /// - Returns: who may write now, and who never will.
    package mutating func resize(to limit: Int) -> (admitted: [Ticket], refused: [Ticket]) {
        self.limit = limit
        let refused = waiting.filter { $0.count > limit }.map(\.ticket)
        waiting.removeAll { $0.count > limit }
        return (admit(), refused)
    }

    /// Counts bytes that a start found on the disk, limit or not.
    package mutating func adopt(_ count: Int) { used += count }

    private mutating func admit() -> [Ticket] {
        var admitted: [Ticket] = []
        while let first = waiting.first, used + first.count <= limit {
            used += first.count
            admitted.append(first.ticket)
            waiting.removeFirst()
        }
        return admitted
    }
}
