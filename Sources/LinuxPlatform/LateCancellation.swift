/// Stops work that is under way, also when the wish to stop it came before the work had started.
package final class LateCancellation: Sendable {
    private struct State {
        var stop: (@Sendable () -> Void)?
        var isCancelled = false
    }
    private let state = Lock(State())

    package init() {}

    /// The work has started.
    ///
    /// - Parameter stop: stops it; called by every `cancel`, and at once when one came before.
    package func started(_ stop: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            state.stop = stop
            return state.isCancelled
        }
        if isLate { stop() }
    }

    /// Stops what is under way, or will be.
    package func cancel() {
        let stop = state.withLock { state in
            state.isCancelled = true
            return state.stop
        }
        stop?()
    }
}

/// Starts work that ends in a callback, and waits for its end; cancelling the task stops the work.
///
/// - Parameter start: starts it, hands it the callback, to be called exactly once, and returns what stops it. The
///   callback is called after stopping too.
package func completion<Value: Sendable>(
    of start: (@escaping @Sendable (Value) -> Void) -> @Sendable () -> Void
) async -> Value {
    let cancellation = LateCancellation()
    return await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
            cancellation.started(start { continuation.resume(returning: $0) })
        }
    } onCancel: {
        cancellation.cancel()
    }
}
