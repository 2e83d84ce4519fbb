import Glibc
package import LinuxPlatform

/// Something that happens once, for tests that make an order instead of sleeping: one side waits, the other opens.
///
/// Every wait ends after `patience`, so that a broken test fails and does not hang.
package final class Gate: Sendable {
    /// How long a wait lasts before it gives up.
    package static let patience = Duration.seconds(30)
    // A byte stands in the pipe, never read, once the gate is open: all waiters see it.
    private let waiting: Int32
    private let opening: Int32

    package init() {
        var ends: [Int32] = [0, 0]
        let result = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        precondition(result == 0, "no socket pair: \(Errno.current)")
        (waiting, opening) = (ends[0], ends[1])
    }

    deinit {
        close(waiting)
        close(opening)
    }

    /// Lets everyone through, now and later.
    package func open() {
        var byte: UInt8 = 1
        _ = send(opening, &byte, 1, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
    }

    package var isOpen: Bool { poll(for: 0) }

    /// Blocks the thread until the gate is open. For threads of a test's server and for callbacks.
    ///
    /// - Throws: `Errno.timedOut` after `patience`.
    package func wait() throws(Errno) {
        guard poll(for: Int32(Self.patience.inSeconds * 1000)) else { throw .timedOut }
    }

    /// Suspends the task until the gate is open.
    ///
    /// - Throws: `Errno.timedOut` after `patience`.
    package func passed() async throws(Errno) {
        let result: Result<Void, Errno> = await withCheckedContinuation { continuation in
            let body: @Sendable () -> Void = {
                do throws(Errno) {
                    try self.wait()
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            do throws(Errno) {
                try NamedThread(name: "gate", body: body).detach()
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        try result.get()
    }

    private func poll(for milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: waiting, events: Int16(POLLIN), revents: 0)
        while true {
            let result = Glibc.poll(&entry, 1, milliseconds)
            if result >= 0 || errno != EINTR { return result > 0 }
        }
    }
}
