import LinuxPlatform

/// Calls that wait, for room on the disk or for the bucket, so that a signal ends the wait.
///
/// States of a call: unknown (it does not wait, or is over); *queued* for room, with its ticket; *waiting* for the bucket to
/// have something, or for the disk before that; *interrupted*, of which it is told when it looks; *asking* the bucket before
/// anything was done, with what ends it at once. Only a kill ends the last one: no disk answers stat(2) or mkdir(2) with EINTR, so
/// hardly a program expects it, and handled signals are common (SIGCHLD of data loaders). Nothing here answers a call.
struct WaitingCalls: Sendable {
    private enum State: Sendable {
        case queued(StagingBudget.Ticket)
        case waiting
        case interrupted
        case asking(end: @Sendable () -> Void)
    }

    /// What a signal ends a call by.
    enum Interruption: Sendable {
        /// The ticket that is to be given up.
        case queued(StagingBudget.Ticket)
        case asking(end: @Sendable () -> Void)
    }

    private var calls: [UInt64: State] = [:]

    /// Nobody waits.
    var isEmpty: Bool { calls.isEmpty }

    /// The call waits for room.
    mutating func queue(_ number: UInt64, _ ticket: StagingBudget.Ticket) { calls[number] = .queued(ticket) }

    /// The call waits, or will, and looks whether it was interrupted.
    mutating func begin(_ number: UInt64) { calls[number] = .waiting }

    /// The call asks the bucket, and has done nothing.
    ///
    /// - Parameter end: answers it with EINTR, unless it was answered.
    mutating func ask(_ number: UInt64, _ end: @escaping @Sendable () -> Void) { calls[number] = .asking(end: end) }

    /// A signal has come for the call.
    ///
    /// - Parameter isKill: the signal ends the caller.
    /// - Returns: what is to be ended; the call is over then.
    mutating func interrupt(_ number: UInt64, isKill: Bool) -> Interruption? {
        switch calls[number] {
        case .queued(let ticket):
            calls[number] = nil
            return .queued(ticket)
        case .asking(let end):
            guard isKill else { return nil }
            calls[number] = nil
            return .asking(end: end)
        case .waiting, .interrupted: calls[number] = .interrupted
        case nil: break
        }
        return nil
    }

    func isAsking(_ number: UInt64) -> Bool { if case .asking? = calls[number] { true } else { false } }

    /// Whether a signal has come for it while it waited.
    func isInterrupted(_ number: UInt64) -> Bool {
        if case .interrupted? = calls[number] { true } else { false }
    }

    /// The call is over, or waits no more.
    mutating func end(_ number: UInt64) { calls[number] = nil }
}
