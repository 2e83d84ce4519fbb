import LinuxPlatform
import Testing

@Suite struct MonitorTests {
    @Test func whatIsReachedIsNotWaitedFor() {
        let monitor = Monitor(1)
        #expect(monitor.wait(until: MonotonicInstant(nanoseconds: 0)) { $0 == 1 })
    }

    @Test func theDeadlineEndsTheWait() {
        let monitor = Monitor(1)
        let deadline = SystemTime().now().advanced(by: .milliseconds(5))
        #expect(!monitor.wait(until: deadline) { $0 == 2 })
        #expect(SystemTime().now() >= deadline)
    }

    /// Without the wake-up the test would not end.
    @Test func aChangeWakesEveryWaiter() throws {
        let monitor = Monitor(0)
        let waiters = try (0..<3).map { number in
            try NamedThread(name: "waiter-\(number)") {
                // Each is seen to be here before the change that it waits for.
                monitor.withLock { $0 += 1 }
                _ = monitor.wait(until: .distantFuture) { $0 == 100 }
            }
        }
        #expect(monitor.wait(until: .distantFuture) { $0 == 3 })
        monitor.withLock { $0 = 100 }
        for waiter in waiters { waiter.join() }
    }

    @Test func errorsPassAndReleaseTheLock() {
        struct Refused: Error {}
        let monitor = Monitor(0)
        #expect(throws: Refused.self) { try monitor.withLock { _ in throw Refused() } }
        #expect(monitor.withLock { $0 } == 0)
    }
}
