import LinuxPlatform
import Testing

@Suite struct LateCancellationTests {
    @Test func workUnderWayIsStopped() {
        let stops = Lock(0)
        let cancellation = LateCancellation()
        cancellation.started { stops.withLock { $0 += 1 } }
        #expect(stops.withLock(\.self) == 0)
        cancellation.cancel()
        #expect(stops.withLock(\.self) == 1)
    }

    @Test func aCancelBeforeTheStartStopsItAtOnce() {
        let stops = Lock(0)
        let cancellation = LateCancellation()
        cancellation.cancel()
        cancellation.started { stops.withLock { $0 += 1 } }
        #expect(stops.withLock(\.self) == 1)
    }

    @Test func theCompletionIsTheResult() async {
        let result = await completion { (done: @Sendable (Int) -> Void) in
            done(7)
            return {}
        }
        #expect(result == 7)
    }

    /// The work never ends by itself, so this test ends only because cancelling the task reached it.
    @Test(arguments: [false, true])
    func cancellingTheTaskStopsTheWork(_ isEarly: Bool) async {
        let callback = Lock<(@Sendable (Int) -> Void)?>(nil)
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            if isEarly { withUnsafeCurrentTask { $0?.cancel() } }
            return await completion { done in
                callback.withLock { $0 = done }
                start.yield()
                return { callback.withLock(\.self)?(-1) }
            }
        }
        for await _ in started { break }
        task.cancel()
        #expect(await task.value == -1)
    }
}
