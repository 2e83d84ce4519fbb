import Configuration
import Dispatch
import Glibc

/// Turns SIGINT and SIGTERM into a cancelled task; a second one ends the process at once.
enum Interruption {
    /// Runs `work`; a signal cancels it, and it ends by itself, leaving a state to go on from.
    static func cancelling<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value {
        let task = Task { await work() }
        let sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                if task.isCancelled { _exit(ExitStatus.interrupted.rawValue) }
                standardError("\npenstock: stopping; once more to stop at once\n")
                task.cancel()
            }
            source.resume()
            return source
        }
        defer { sources.forEach { $0.cancel() } }
        return await task.value
    }
}
