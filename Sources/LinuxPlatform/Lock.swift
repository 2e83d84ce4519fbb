import Glibc

/// The only lock of the project: a mutual exclusion lock around a state.
///
/// A `pthread_mutex` and not `Synchronization.Mutex`: ThreadSanitizer does not understand the latter on this toolchain
/// and reports races that are none. Hold it to change state, never over I/O, callbacks or logging.
package final class Lock<State>: @unchecked Sendable {  // the mutex protects `state`; the storage is never moved
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var state: State

    package init(_ state: consuming State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        let result = pthread_mutex_init(mutex, nil)
        precondition(result == 0, "pthread_mutex_init failed: \(result)")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deinitialize(count: 1)
        mutex.deallocate()
    }

    /// Runs `body` alone on the state.
    package func withLock<Value, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}
