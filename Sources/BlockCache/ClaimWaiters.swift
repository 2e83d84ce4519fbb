import Glibc
import LinuxPlatform

/// Asks again, every few milliseconds, for those who wait for what another process fetches: a lock of a file tells nobody
/// when it goes.
final class ClaimWaiters: Sendable {
    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var isRunning = false
    }

    private static let pause: UInt32 = 3000  // µs
    private let state = Lock(State())
    private let thread: WorkerPool

    /// - Throws: the error number of pthread_create(3).
    init() throws(Errno) { thread = try WorkerPool(name: "disk-claims", count: 1) }

    /// Calls `body` a little later, once.
    func add(_ body: @escaping @Sendable () -> Void) {
        let isFirst = state.withLock { state in
            state.waiting.append(body)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if isFirst { thread.submit { [self] in run() } }
    }

    private func run() {
        while true {
            usleep(Self.pause)
            let bodies = state.withLock { state in
                defer { state.waiting = [] }
                state.isRunning = !state.waiting.isEmpty
                return state.waiting
            }
            if bodies.isEmpty { return }
            bodies.forEach { $0() }
        }
    }
}
