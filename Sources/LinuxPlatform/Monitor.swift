import Glibc

/// A lock around a state that threads can wait on: for what others do to it, and never past a deadline.
///
/// For the few places where a thread of ours has nothing else to do than to wait. Tasks wait with continuations.
package final class Monitor<State>: @unchecked Sendable {  // the mutex protects `state`; the storage is never moved
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let change: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    package init(_ state: consuming State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        change = .allocate(capacity: 1)
        change.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        defer { pthread_condattr_destroy(&attributes) }
        // The clock of `MonotonicInstant`: a step of the time of day neither ends a wait nor makes it endless.
        let results = (
            pthread_mutex_init(mutex, nil), pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC),
            pthread_cond_init(change, &attributes)
        )
        precondition(results == (0, 0, 0), "cannot make a monitor: \(results)")
    }

    deinit {
        pthread_cond_destroy(change)
        pthread_mutex_destroy(mutex)
        change.deinitialize(count: 1)
        mutex.deinitialize(count: 1)
        change.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` alone on the state; whoever waits then looks at it again.
    package func withLock<Value, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        pthread_mutex_lock(mutex)
        defer {
            // Costs next to nothing when nobody waits.
            pthread_cond_broadcast(change)
            pthread_mutex_unlock(mutex)
        }
        return try body(&state)
    }

    /// Blocks the calling thread until the state is as it should be.
    ///
    /// - Parameter isReached: looks at the state, under the lock, whenever it may have changed.
    /// - Returns: false when the deadline came first.
    package func wait(until deadline: MonotonicInstant, _ isReached: (State) -> Bool) -> Bool {
        var end = timespec()
        end.tv_sec = Int(max(0, deadline.nanoseconds) / 1_000_000_000)
        end.tv_nsec = Int(max(0, deadline.nanoseconds) % 1_000_000_000)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isReached(state) {
            if pthread_cond_timedwait(change, mutex, &end) != 0 { return isReached(state) }
        }
        return true
    }
}
