import Configuration
import Glibc
import LinuxPlatform

/// Ends a mount when SIGTERM or SIGINT says so: unmounts, lets answers go out, and ends the process. A second signal ends it
/// at once, but not one that comes together with the first: timeout(1) and terminals signal a process and its group.
final class MountEnding: Sendable {
    /// Takes the mount out of the tree, and does what is left to do; says how the process ends.
    typealias Stop = @Sendable () async -> ExitStatus

    private enum State {
        case starting
        case mounted(Stop)
        case ending(since: MonotonicInstant)
        /// Somebody else has unmounted it.
        case unmounted
    }

    private static let patience = Duration.seconds(1)
    private let state = Lock(State.starting)

    init() throws(CommandFailure) {
        do {
            let signals = try SignalWatch([SIGTERM, SIGINT])
            try NamedThread(name: "signals") { [self] in
                while true {
                    let number = signals.next()
                    take(number)
                }
            }.detach()
        } catch {
            throw CommandFailure(.internal, "cannot watch for signals: \(error)")
        }
    }

    /// From now on there is something to stop.
    func mounted(_ stop: @escaping Stop) { state.withLock { $0 = .mounted(stop) } }

    /// The mount is gone, and what is left to do is done by who called: the first signal lets him, and a later one ends the
    /// process at once. Does not return when a signal was first, whose way it is to end the process.
    func unmounted() async {
        let isFirst = state.withLock { state in
            if case .ending = state { return false }
            state = .unmounted
            return true
        }
        while !isFirst { try? await Task.sleep(for: .seconds(3600)) }
    }

    private func take(_ number: Int32) {
        let now = SystemTime().now()
        let before = state.withLock { state in
            let before = state
            switch before {
            case .mounted, .unmounted: state = .ending(since: now)
            case .starting, .ending: break
            }
            return before
        }
        if case .ending(let since) = before, since.duration(to: now) < Self.patience { return }
        // It is ending already: umount(8), and then a signal.
        if case .unmounted = before { return }
        // Nothing is mounted yet, or the user is out of patience.
        guard case .mounted(let stop) = before else { _exit(128 + number) }
        // Not on this thread, so that a second signal is heard.
        Task { endProcess(await stop().rawValue) }
    }
}
