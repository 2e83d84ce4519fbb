package import LinuxPlatform

/// A clock that a test moves.
///
/// Both clocks start at a fixed moment and go on together. A sleep ends when the clock was moved far enough, or moves
/// the clock itself when the test asked for that.
package final class ManualTime: TimeSource {
    private struct Sleeper {
        let key: Int
        let wakesAt: MonotonicInstant
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var elapsed = Duration.zero
        var jump = Duration.zero
        var sleepers: [Sleeper] = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var lastKey = 0
        var slept: [Duration] = []
    }

    private let state = Lock(State())
    private let start: UnixTime
    private let advancesOnSleep: Bool

    /// - Parameters:
    ///   - start: the time of day at first.
    ///   - advancesOnSleep: a sleep moves the clock and returns at once: for code that waits between attempts.
    package init(start: UnixTime = UnixTime(seconds: 1_700_000_000), advancesOnSleep: Bool = false) {
        self.start = start
        self.advancesOnSleep = advancesOnSleep
    }

    package func now() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000).advanced(by: state.withLock { $0.elapsed })
    }

    package func timeOfDay() -> UnixTime { start.advanced(by: state.withLock { $0.elapsed + $0.jump }) }

    /// Moves both clocks, and wakes those who slept until then, earliest first.
    package func advance(by duration: Duration) {
        let woken = state.withLock { state in
            state.elapsed += duration
            let now = MonotonicInstant(nanoseconds: 1_000_000_000).advanced(by: state.elapsed)
            let due = state.sleepers.filter { $0.wakesAt <= now }.sorted { $0.wakesAt < $1.wakesAt }
            state.sleepers.removeAll { $0.wakesAt <= now }
            return due
        }
        for sleeper in woken { sleeper.continuation.resume(returning: true) }
    }

    /// Moves the time of day only, as a correction of the clock does; may be negative.
    package func jumpTimeOfDay(by duration: Duration) { state.withLock { $0.jump += duration } }

    /// How many tasks sleep now.
    package var sleepers: Int { state.withLock { $0.sleepers.count } }

    /// Every sleep that was asked for, in order.
    package var sleeps: [Duration] { state.withLock { $0.slept } }

    /// Returns when at least `count` tasks sleep.
    package func waitForSleepers(_ count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                if state.sleepers.count >= count { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if ready { continuation.resume() }
        }
    }

    package func sleep(for duration: Duration) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        let key = state.withLock { state in
            state.slept.append(duration)
            state.lastKey += 1
            return state.lastKey
        }
        if advancesOnSleep || duration <= .zero {
            if duration > .zero { advance(by: duration) }
            return
        }
        let wokeUp = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in enqueue(key, duration, continuation) }
        } onCancel: {
            removeSleeper(key)?.resume(returning: false)
        }
        if !wokeUp { throw CancellationError() }
    }

    private func enqueue(_ key: Int, _ duration: Duration, _ continuation: CheckedContinuation<Bool, Never>) {
        let ready = state.withLock { state in
            let now = MonotonicInstant(nanoseconds: 1_000_000_000).advanced(by: state.elapsed)
            let wakesAt = now.advanced(by: duration)
            state.sleepers.append(Sleeper(key: key, wakesAt: wakesAt, continuation: continuation))
            let count = state.sleepers.count
            let ready = state.watchers.filter { $0.count <= count }
            state.watchers.removeAll { $0.count <= count }
            return ready
        }
        for watcher in ready { watcher.continuation.resume() }
        // Cancelled before it was enqueued: the handler came too early to find it.
        if Task.isCancelled { removeSleeper(key)?.resume(returning: false) }
    }

    private func removeSleeper(_ key: Int) -> CheckedContinuation<Bool, Never>? {
        state.withLock { state in
            guard let index = state.sleepers.firstIndex(where: { $0.key == key }) else { return nil }
            return state.sleepers.remove(at: index).continuation
        }
    }
}
