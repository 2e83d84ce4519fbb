import LinuxPlatform

// Whether all of a file on the disk is proven, while others go on writing to it.
//
//   none ──▶ running ──▶ done        everything was read back and was right
//     ▲         │ │ ▲
//     └─────────┘ └─┘                something was wrong: none; blocks were written meanwhile: run again
//
// A proof may read a block just before somebody repairs it. What it says of a block that was written since it began is
// about bytes that are gone: such a block is not lost, and the proof is made again.

/// The state of a file's proof. No I/O.
struct ProofState {
    private enum Phase {
        case none
        case running(rewritten: Set<Int>)
        case done(MonotonicInstant)
    }

    private var phase = Phase.none

    var isRunning: Bool { if case .running = phase { true } else { false } }

    /// When it was made; nil while it is not.
    var since: MonotonicInstant? { if case .done(let since) = phase { since } else { nil } }

    /// What stood there is in doubt.
    mutating func withdraw() { if case .done = phase { phase = .none } }

    /// The file is another one: a proof that runs proves nothing.
    mutating func reset() { phase = .none }

    /// A proof made before is taken over.
    mutating func adopt(_ instant: MonotonicInstant) { phase = .done(instant) }

    /// - Returns: false when one runs already or was made.
    mutating func begin() -> Bool {
        guard case .none = phase else { return false }
        phase = .running(rewritten: [])
        return true
    }

    /// A block was written.
    mutating func wrote(_ block: Int) {
        guard case .running(var rewritten) = phase else { return }
        rewritten.insert(block)
        phase = .running(rewritten: rewritten)
    }

    /// Whether a block that the running proof found wrong is to be given up.
    func isLost(_ block: Int) -> Bool {
        if case .running(let rewritten) = phase { !rewritten.contains(block) } else { true }
    }

    /// A proof has ended.
    ///
    /// - Parameters:
    ///   - isProven: everything was right, and nothing changed meanwhile.
    ///   - isFull: all blocks are there.
    /// - Returns: whether it is to be made again at once: each time because of a write, so not for ever.
    mutating func ended(isProven: Bool, isFull: Bool, now: MonotonicInstant) -> Bool {
        var wasRewritten = false
        if case .running(let rewritten) = phase { wasRewritten = !rewritten.isEmpty }
        if isProven, isFull {
            phase = .done(now)
            return false
        }
        let isDueAgain = isFull && wasRewritten
        phase = isDueAgain ? .running(rewritten: []) : .none
        return isDueAgain
    }
}
