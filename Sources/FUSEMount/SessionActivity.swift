import Filesystem
import LinuxPlatform
import Synchronization

/// What a session is doing: whether the kernel has begun, which threads serve, which requests wait for an answer.
///
/// Requests have numbers of our own: an interrupt may come when its request is answered and gone.
final class SessionActivity: Sendable {
    private struct Waiting {
        weak var reply: FUSEReply?
    }

    private struct State {
        var isInitialized = false
        var threads = 0
        var waiting: [UInt64: Waiting] = [:]
    }

    private let last = Atomic<UInt64>(0)
    private let state = Monitor(State())

    // MARK: - Requests

    /// Requests that wait for an answer.
    var inFlight: Int { state.withLock { $0.waiting.count } }

    /// Never used again.
    func newNumber() -> UInt64 { last.add(1, ordering: .relaxed).newValue }

    func began(_ reply: FUSEReply, _ number: UInt64) {
        state.withLock { $0.waiting[number] = Waiting(reply: reply) }
    }

    func ended(_ number: UInt64) { state.withLock { $0.waiting[number] = nil } }

    /// The caller in the kernel does not want to wait any longer.
    func interrupt(_ number: UInt64) { state.withLock { $0.waiting[number]?.reply }?.interrupt() }

    // MARK: - The session

    /// The kernel has said INIT, and has the reply.
    func initialized() { state.withLock { $0.isInitialized = true } }

    /// - Returns: false when that did not come in time.
    func waitForInit(until deadline: MonotonicInstant) -> Bool { state.wait(until: deadline) { $0.isInitialized } }

    func threadsStart(_ count: Int) { state.withLock { $0.threads = count } }

    /// - Returns: whether it was the last one: the kernel has let go of the mount.
    func threadEnded() -> Bool {
        state.withLock { state in
            state.threads -= 1
            return state.threads == 0
        }
    }

    /// Whether the kernel still has the connection.
    var isRunning: Bool { state.withLock { $0.threads > 0 } }

    /// Waits while requests are under way, and then for the threads to leave.
    ///
    /// With open files the kernel keeps the connection: answering what it asked is all that is left to do then.
    ///
    /// - Parameter moment: the threads leave as soon as nobody has a file open. How long that may take, with nothing
    ///   under way, before we conclude that somebody has.
    /// - Returns: whether the threads have left.
    func waitForEnd(until deadline: MonotonicInstant, moment: Duration = .milliseconds(250)) -> Bool {
        while state.wait(until: deadline, { $0.threads == 0 || $0.waiting.isEmpty }) {
            let soon = min(deadline, SystemTime().now().advanced(by: moment))
            guard state.wait(until: soon, { $0.threads == 0 || !$0.waiting.isEmpty }), isRunning else { break }
        }
        return !isRunning
    }
}
