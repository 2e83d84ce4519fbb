import LinuxPlatform
import Testing
import TransferEngine

struct AdaptiveConcurrencyTests {
    /// A pipe of `bandwidth` bytes per second over which each request needs at least `latency`.
    static func settled(latency: Duration, bandwidth: Double, maximum: Int) -> Int {
        var now = MonotonicInstant(nanoseconds: 0)
        var control = AdaptiveConcurrency(maximum: maximum, now: now)
        let bytes = 8 << 20
        for _ in 0..<400 {
            let limit = control.limit
            let rate = min(bandwidth, Double(limit * bytes) / latency.inSeconds)
            for _ in 0..<(limit * 2) {
                now = now.advanced(by: .seconds(Double(bytes) / rate))
                control.completed(bytes: bytes, now: now)
            }
        }
        return control.limit
    }

    @Test func itGrowsUntilThePipeIsFull() {
        // 2 GB/s at 100 ms for 8 MiB: 24 requests fill the pipe.
        let limit = Self.settled(latency: .milliseconds(100), bandwidth: 2e9, maximum: 128)
        #expect((20...40).contains(limit), "settled at \(limit)")
    }

    @Test func itStaysSmallWhereMoreBringsNothing() {
        let limit = Self.settled(latency: .milliseconds(1), bandwidth: 1e9, maximum: 128)
        #expect(limit <= 12, "settled at \(limit)")
    }

    @Test func oneBurstOfThrottlesHalvesOnce() {
        let start = MonotonicInstant(nanoseconds: 0)
        var control = AdaptiveConcurrency(initial: 32, maximum: 64, now: start)
        for index in 0..<20 { control.throttled(now: start.advanced(by: .milliseconds(index))) }
        #expect(control.limit == 16)
        control.throttled(now: start.advanced(by: .seconds(2)))
        #expect(control.limit == 8)
    }

    @Test func itNeverLeavesItsBounds() {
        var generator = SplitMix(state: 7)
        var now = MonotonicInstant(nanoseconds: 0)
        var control = AdaptiveConcurrency(minimum: 2, initial: 8, maximum: 20, now: now)
        for _ in 0..<20_000 {
            now = now.advanced(by: .milliseconds(Int.random(in: 0...50, using: &generator)))
            if Int.random(in: 0..<50, using: &generator) == 0 {
                control.throttled(now: now)
            } else {
                control.completed(bytes: Int.random(in: 0...(8 << 20), using: &generator), now: now)
            }
            #expect((2...20).contains(control.limit))
        }
    }
}

struct ConcurrencyGateTests {
    @Test func noMoreThanTheLimitAreInside() async throws {
        let now = SystemTime().now()
        let gate = ConcurrencyGate(AdaptiveConcurrency(initial: 3, maximum: 3, now: now), time: SystemTime())
        let inside = Lock((now: 0, most: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<60 {
                group.addTask {
                    try await gate.run(bytes: 1, cancelled: CancellationError()) { () throws(CancellationError) in
                        inside.withLock {
                            $0.now += 1
                            $0.most = max($0.most, $0.now)
                        }
                        await Task.yield()
                        inside.withLock { $0.now -= 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(inside.withLock { $0.most } <= 3)
        #expect(gate.inside == 0)
    }

    @Test func aCancelledWaiterGivesItsPlaceUp() async throws {
        let now = SystemTime().now()
        let gate = ConcurrencyGate(
            AdaptiveConcurrency(minimum: 1, initial: 1, maximum: 1, now: now),
            time: SystemTime()
        )
        let (stream, release) = AsyncStream<Void>.makeStream()
        let first = Task {
            try await gate.run(bytes: 0, cancelled: CancellationError()) { () throws(CancellationError) in
                for await _ in stream { break }
            }
        }
        let second = Task {
            try await gate.run(bytes: 0, cancelled: CancellationError()) { () throws(CancellationError) in }
        }
        second.cancel()
        // Whether it was cancelled before or after it began to wait, it must end while the first still holds the place.
        _ = await second.result
        release.yield()
        try await first.value
        #expect(gate.inside == 0)
    }
}
