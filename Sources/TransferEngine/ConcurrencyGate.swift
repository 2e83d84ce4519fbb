package import LinuxPlatform

/// Lets as many requests through at once as `AdaptiveConcurrency` allows; the others wait in order of coming.
package final class ConcurrencyGate: Sendable {
    private struct State {
        var controller: AdaptiveConcurrency
        var inside = 0
        var waiting: [(key: Int, continuation: CheckedContinuation<Bool, Never>)] = []
        var lastKey = 0

        /// Those who may enter now, already counted as inside.
        mutating func admit() -> [CheckedContinuation<Bool, Never>] {
            let room = max(0, min(controller.limit - inside, waiting.count))
            let admitted = waiting.prefix(room).map(\.continuation)
            waiting.removeFirst(room)
            inside += room
            return admitted
        }
    }

    private let state: Lock<State>
    private let time: any TimeSource

    package init(_ controller: AdaptiveConcurrency, time: any TimeSource) {
        state = Lock(State(controller: controller))
        self.time = time
    }

    /// The limit in force.
    package var limit: Int { state.withLock { $0.controller.limit } }
    /// Requests on their way.
    package var inside: Int { state.withLock { $0.inside } }

    /// Waits for a place, runs `body`, and gives the place back.
    ///
    /// - Parameter bytes: what a run that ends well has moved.
    /// - Throws: what `body` throws, or `cancelled` when the task was cancelled while it waited.
    package func run<Value, Failure: Error>(
        bytes: Int,
        cancelled: @autoclosure () -> Failure,
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard await enter() else { throw cancelled() }
        do throws(Failure) {
            let value = try await body()
            leave(moved: bytes)
            return value
        } catch {
            leave(moved: nil)
            throw error
        }
    }

    /// The server asked to slow down.
    package func throttled() {
        let now = time.now()
        state.withLock { $0.controller.throttled(now: now) }
    }

    private func enter() async -> Bool {
        let key = state.withLock { state in
            state.lastKey += 1
            return state.lastKey
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let admitted = state.withLock { state in
                    state.waiting.append((key, continuation))
                    return state.admit()
                }
                admitted.forEach { $0.resume(returning: true) }
                // A cancel that came before the enqueuing found nothing to take out.
                if Task.isCancelled { removeWaiting(key)?.resume(returning: false) }
            }
        } onCancel: {
            removeWaiting(key)?.resume(returning: false)
        }
    }

    private func leave(moved bytes: Int?) {
        let now = time.now()
        let admitted = state.withLock { state in
            state.inside -= 1
            if let bytes { state.controller.completed(bytes: bytes, now: now) }
            return state.admit()
        }
        admitted.forEach { $0.resume(returning: true) }
    }

    private func removeWaiting(_ key: Int) -> CheckedContinuation<Bool, Never>? {
        state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0.key == key }) else { return nil }
            return state.waiting.remove(at: index).continuation
        }
    }
}
