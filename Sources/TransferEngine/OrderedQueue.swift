// Pieces of a file arrive in any order and are taken in file order, one taker at a time.
//
// States: a piece is *waiting* until every byte before it has been taken, then *ready*, then *taken*. Invariants: the
// frontier only grows; what is taken begins at the frontier; at most one taker is at work, and there is one exactly when
// a piece is ready or being taken.

/// The order in which pieces are handed on. No I/O, no locks.
package struct OrderedQueue<Piece: Sendable>: Sendable {
    /// Every byte before this offset has been taken.
    package private(set) var frontier: Int
    private var waiting: [Int: (count: Int, piece: Piece)] = [:]
    private var isTaking = false

    package init(from offset: Int = 0) { frontier = offset }

    /// The number of pieces that are here and cannot be taken yet.
    package var waitingCount: Int { waiting.count }

    /// Adds a piece.
    ///
    /// - Returns: whether the caller must become the taker: call `next` until it gives nil.
    package mutating func insert(offset: Int, count: Int, _ piece: Piece) -> Bool {
        precondition(offset >= frontier && waiting[offset] == nil && count > 0, "a piece came twice, or too late")
        waiting[offset] = (count, piece)
        guard !isTaking, waiting[frontier] != nil else { return false }
        isTaking = true
        return true
    }

    /// The piece at the frontier, or nil when it has not arrived: then the taker's turn is over.
    package mutating func next() -> (offset: Int, piece: Piece)? {
        precondition(isTaking, "only the taker takes")
        guard let (count, piece) = waiting.removeValue(forKey: frontier) else {
            isTaking = false
            return nil
        }
        defer { frontier += count }
        return (frontier, piece)
    }

    /// Takes out everything that waits, in no order: the file is given up.
    package mutating func drain() -> [Piece] {
        defer { waiting = [:] }
        return waiting.values.map(\.piece)
    }
}
