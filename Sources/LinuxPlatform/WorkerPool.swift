import Glibc

/// A few named threads for work that occupies a processor or waits for a disk: hashing, positional I/O.
///
/// Swift's own threads are as many as there are cores; one blocking call there stops half of a small machine. A pool that
/// nobody refers to any more finishes its queue, and its threads end by themselves.
package final class WorkerPool: Sendable {
    private struct State {
        var queue: [@Sendable () -> Void] = []
        var head = 0
        var isClosed = false
    }

    private final class Shared: @unchecked Sendable {  // every field is touched only with the mutex held
        var state = State()
        let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        let wakeUp = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

        init() {
            mutex.initialize(to: pthread_mutex_t())
            wakeUp.initialize(to: pthread_cond_t())
            pthread_mutex_init(mutex, nil)
            pthread_cond_init(wakeUp, nil)
        }

        deinit {
            pthread_cond_destroy(wakeUp)
            pthread_mutex_destroy(mutex)
            wakeUp.deallocate()
            mutex.deallocate()
        }

        func next() -> (@Sendable () -> Void)? {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            while state.head == state.queue.count, !state.isClosed { pthread_cond_wait(wakeUp, mutex) }
            guard state.head < state.queue.count else { return nil }
            let work = state.queue[state.head]
            state.head += 1
            // The queue is emptied in steps, so that taking from its front costs nothing.
            if state.head == state.queue.count || state.head > 1024 {
                state.queue.removeFirst(state.head)
                state.head = 0
            }
            return work
        }

        func add(_ work: @escaping @Sendable () -> Void) {
            pthread_mutex_lock(mutex)
            precondition(!state.isClosed, "work for a pool that is closed")
            state.queue.append(work)
            pthread_cond_signal(wakeUp)
            pthread_mutex_unlock(mutex)
        }

        /// False when it was closed before.
        func close() -> Bool {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            if state.isClosed { return false }
            state.isClosed = true
            pthread_cond_broadcast(wakeUp)
            return true
        }
    }

    private let shared = Shared()
    private let threads: [NamedThread]

    /// - Parameters:
    ///   - name: the threads are called `name-0`, `name-1`, …
    ///   - count: at least 1.
    /// - Throws: the error number of pthread_create(3).
    package init(name: String, count: Int) throws(Errno) {
        precondition(count > 0)
        var started: [NamedThread] = []
        for index in 0..<count {
            let shared = shared
            do throws(Errno) {
                // The threads hold what they share, not the pool: or it would never end.
                let thread = try NamedThread(name: "\(name)-\(index)") {
                    while let work = shared.next() { work() }
                }
                started.append(thread)
            } catch {
                _ = shared.close()
                started.forEach { $0.detach() }
                throw error
            }
        }
        threads = started
    }

    deinit {
        // Not joined: the last reference may go on one of the threads.
        if shared.close() { threads.forEach { $0.detach() } }
    }

    /// Queues `work`; it runs once, on one of the threads, in order of submission as threads become free.
    package func submit(_ work: @escaping @Sendable () -> Void) { shared.add(work) }

    /// Runs `work` on one of the threads and waits for its result without holding a thread.
    package func run<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            submit { continuation.resume(returning: work()) }
        }
    }

    /// Lets the queued work finish, then ends the threads and waits for them; once. Not from one of the threads.
    package func close() {
        if shared.close() { threads.forEach { $0.join() } }
    }
}
