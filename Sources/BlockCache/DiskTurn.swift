/// A read of the disk that may hang, and who goes on after it: the rules without I/O.
///
/// A disk that hangs holds its thread for ever, and the memory it reads into. So a piece lands in memory of the thread's
/// own, and is copied to the reader's only while the turn is the disk's. When patience ends, the reader goes on without
/// the disk, and whatever comes then is dropped. Exactly one of `pieceCopied`, `ended` and `patienceEnded` says that its
/// caller goes on, once.
struct DiskTurn: Sendable {
    private enum Phase {
        /// The disk is asked; nobody touches the reader's memory.
        case reading
        /// A piece is being copied to the reader.
        case copying
        /// Somebody has gone on.
        case over
    }

    private var phase = Phase.reading
    private var isOverdue = false

    /// A piece came from the disk. False: too late, it is not for the reader any more.
    mutating func pieceRead() -> Bool {
        guard phase == .reading else { return false }
        phase = .copying
        return true
    }

    /// The piece is the reader's now. True: patience ended meanwhile, the caller goes on without the disk.
    mutating func pieceCopied() -> Bool {
        precondition(phase == .copying, "only a piece that was accepted is copied")
        phase = isOverdue ? .over : .reading
        return isOverdue
    }

    /// The disk has no more to give. True: the caller goes on.
    mutating func ended() -> Bool {
        guard phase == .reading else { return false }
        phase = .over
        return true
    }

    /// The disk had its time. True: the caller goes on without it.
    mutating func patienceEnded() -> Bool {
        switch phase {
        case .reading:
            phase = .over
            return true
        case .copying:
            isOverdue = true
            return false
        case .over: return false
        }
    }
}
