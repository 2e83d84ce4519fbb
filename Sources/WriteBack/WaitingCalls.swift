/// Calls that wait, for room on the disk or for the bucket, so that a signal ends the wait.
///
/// States of a call: unknown (it does not wait, or is over); *queued* for room, with its ticket; *waiting* for the bucket, or
/// for the disk before that; *interrupted*, of which it is told when it looks. Nothing here answers a call.
struct WaitingCalls: Sendable {
    private enum State: Hashable {
        case queued(StagingBudget.Ticket)
        case waiting
        case interrupted
    }

    private var calls: [UInt64: State] = [:]

    /// Nobody waits.
    var isEmpty: Bool { calls.isEmpty }

    /// The call waits for room.
    mutating func queue(_ number: UInt64, _ ticket: StagingBudget.Ticket) { calls[number] = .queued(ticket) }

    /// The call waits, or will, and looks whether it was interrupted.
    mutating func begin(_ number: UInt64) { calls[number] = .waiting }

    /// A signal has come for the call.
    ///
    /// - Returns: the ticket that is to be given up; the call is over then.
    mutating func interrupt(_ number: UInt64) -> StagingBudget.Ticket? {
        switch calls[number] {
        case .queued(let ticket):
            calls[number] = nil
            return ticket
        case .waiting, .interrupted: calls[number] = .interrupted
        case nil: break
        }
        return nil
    }

    /// Whether a signal has come for it while it waited.
    func isInterrupted(_ number: UInt64) -> Bool { calls[number] == .interrupted }

    /// The call is over, or waits no more.
    mutating func end(_ number: UInt64) { calls[number] = nil }
}
