import CLinux
import Glibc

/// Runs a program, collects what it prints, and ends it when it takes too long.
package enum ChildProcess {
    /// Why there is no output.
    package struct Failure: Error {
        /// The rest of a sentence that begins with the program.
        package var message: String
    }

    /// Runs a program to its end; its input and its errors are /dev/null. Blocks a thread of its own meanwhile.
    ///
    /// - Parameters:
    ///   - arguments: the program, looked for along this process's `PATH`, and its arguments.
    ///   - environment: all of its variables, as `NAME=value`.
    ///   - timeout: when it is over, the program is killed, and its children with it.
    ///   - limit: of the output, in bytes; at more it is killed likewise.
    /// - Returns: what it printed, also where it then exited with a failure: its words count more than its number.
    /// - Throws: when it cannot be run, was killed, or failed without a word.
    package static func run(
        _ arguments: [String],
        environment: [String],
        timeout: Duration,
        limit: Int
    ) async throws(Failure) -> [UInt8] {
        let result: Result<[UInt8], Failure> = await withCheckedContinuation { continuation in
            do {
                let thread = try NamedThread(name: "child-process") {
                    continuation.resume(
                        returning: Result { () throws(Failure) in
                            try runBlocking(arguments, environment, timeout, limit)
                        }
                    )
                }
                thread.detach()
            } catch {
                continuation.resume(returning: .failure(Failure(message: "cannot be run: \(error)")))
            }
        }
        return try result.get()
    }

    private static func runBlocking(
        _ arguments: [String],
        _ environment: [String],
        _ timeout: Duration,
        _ limit: Int
    ) throws(Failure) -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        guard clinux_pipe(&ends) == 0 else { throw Failure(message: "cannot be run: \(Errno.current)") }
        let output = FileDescriptor(owning: ends[0])
        let child: pid_t
        do {
            let input = FileDescriptor(owning: ends[1])
            child = try spawn(arguments, environment, output: input.rawValue)
        }
        let deadline = SystemTime().now().advanced(by: timeout)
        let collected = collect(output.rawValue, limit, deadline)
        if collected == nil || !waitUntil(deadline, child) { kill(-child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard let collected else {
            let seconds = timeout.components.seconds
            throw Failure(message: "was stopped: no reply of at most \(limit) bytes within \(seconds) s")
        }
        guard status == 0 else {
            if !collected.isEmpty { return collected }
            throw Failure(message: "failed with wait status \(status)")
        }
        return collected
    }

    /// In a process group of its own, with all signals as a program expects them.
    private static func spawn(
        _ arguments: [String],
        _ environment: [String],
        output: Int32
    ) throws(Failure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var child = pid_t()
        let result = withStrings(arguments) { words in
            withStrings(environment) { variables in
                withOwnGroupAndSignals { attributes in
                    posix_spawnp(&child, arguments[0], &actions, attributes, words, variables)
                }
            }
        }
        guard result == 0 else { throw Failure(message: "cannot be run: \(Errno(result))") }
        return child
    }

    /// Nil when there is more than `limit`, or no end in time.
    private static func collect(_ output: Int32, _ limit: Int, _ deadline: MonotonicInstant) -> [UInt8]? {
        var collected: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            guard waitUntilReadable(output, deadline) else { return nil }
            let count = read(output, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return collected }
            collected += buffer[..<count]
            if collected.count > limit { return nil }
        }
    }

    /// A program may close its output and stay: it is given until the deadline. Whether it has ended.
    private static func waitUntil(_ deadline: MonotonicInstant, _ child: pid_t) -> Bool {
        let raw = clinux_pidfd_open(child)
        guard raw >= 0 else { return false }
        let process = FileDescriptor(owning: raw)
        return waitUntilReadable(process.rawValue, deadline)
    }

    /// Whether something can be read, or the end has come, before the deadline.
    private static func waitUntilReadable(_ descriptor: Int32, _ deadline: MonotonicInstant) -> Bool {
        while true {
            let left = SystemTime().now().duration(to: deadline).inNanoseconds / 1_000_000
            guard left > 0 else { return false }
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&poller, 1, Int32(min(left, 1_000_000)))
            if ready > 0 { return true }
            if ready < 0, errno != EINTR { return false }
        }
    }

    private static func withStrings<Value>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Value
    ) -> Value {
        var pointers = strings.map { strdup($0) }
        defer { pointers.forEach { free($0) } }
        pointers.append(nil)
        defer { pointers.removeLast() }
        return body(pointers)
    }
}
