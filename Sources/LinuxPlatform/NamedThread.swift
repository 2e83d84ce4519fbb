import CLinux
import Glibc

/// A thread with a name that `top -H` and a debugger show.
package struct NamedThread: @unchecked Sendable {  // pthread_t is an opaque value that any thread may join
    private let thread: pthread_t

    /// Starts a thread that runs `body` once.
    ///
    /// - Parameters:
    ///   - name: at most 15 bytes are shown (pthread_setname_np(3)).
    ///   - body: runs on the new thread, with all signals blocked: signals belong to the thread that waits for them.
    /// - Throws: the error number of pthread_create(3).
    package init(name: String, body: @escaping @Sendable () -> Void) throws(Errno) {
        let context = Unmanaged.passRetained(ThreadBody(name: name, body: body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                // Retained by the starter, released here: exactly one of the two runs.
                let context = Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue()
                var signals = sigset_t()
                sigfillset(&signals)
                pthread_sigmask(SIG_BLOCK, &signals, nil)
                clinux_name_this_thread(context.name)
                context.body()
                return nil
            },
            context.toOpaque()
        )
        guard result == 0 else {
            context.release()
            throw Errno(result)
        }
        self.thread = thread
    }

    /// Waits until the thread has returned. Call it exactly once, or `detach`.
    package func join() { pthread_join(thread, nil) }

    /// Lets the thread end by itself.
    package func detach() { pthread_detach(thread) }
}

private final class ThreadBody: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}
