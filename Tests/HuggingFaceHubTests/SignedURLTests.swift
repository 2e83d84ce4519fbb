import LinuxPlatform
import Testing

@testable import HuggingFaceHub

@Suite struct SignedURLTests {
    @Test(arguments: [
        ("https://c/x?Expires=1764000000&Signature=s", 1_764_000_000),
        ("https://c/x?a=b&X-Amz-Date=20251124T160000Z&X-Amz-Expires=3600", 1_764_003_600),
        ("https://c/x?X-Goog-Date=20251124T160000Z&X-Goog-Expires=60", 1_764_000_060),
        ("https://c/x?sv=1&se=2025-11-24T16%3A00%3A00Z", 1_764_000_000),
    ])
    func readsTheKnownForms(_ url: String, _ seconds: Int) {
        #expect(signedURLExpiry(url) == UnixTime(seconds: Int64(seconds)))
    }

    @Test(arguments: [
        "https://c/x", "https://c/x?", "https://c/x?Expires=", "https://c/x?Expires=-5",
        "https://c/x?Expires=99999999999999999999",
        "https://c/x?X-Amz-Date=2025&X-Amz-Expires=1", "https://c/x?se=soon", "https://c/x#?Expires=1",
    ])
    func knowsNoOther(_ url: String) {
        #expect(signedURLExpiry(url) == nil)
    }

    @Test func refreshesEarlyByTheServersClock() {
        let now = MonotonicInstant(nanoseconds: 5)
        let issued = UnixTime(seconds: 1_764_000_000)
        let long = FileLocation(url: "http://c/x?Expires=1764003600", version: 1, issued: issued, now: now)
        #expect(now.duration(to: long.refreshAt) == .seconds(3480))
        let short = FileLocation(url: "http://c/x?Expires=1764000004", version: 1, issued: issued, now: now)
        #expect(now.duration(to: short.refreshAt) == .seconds(3))
        // Born expired: clocks disagree, and the first refusal will tell.
        let past = FileLocation(url: "http://c/x?Expires=1763999999", version: 1, issued: issued, now: now)
        #expect(past.refreshAt == .distantFuture)
    }

    @Test func asksOnceForManyReaders() async throws {
        let asked = Lock(0)
        let clock = SleepClock()
        let provider = LocationProvider(time: clock) { version in
            asked.withLock { $0 += 1 }
            for _ in 0..<20 { await Task.yield() }
            return .success(
                FileLocation(url: "http://c/\(version)", version: version, issued: clock.start, now: clock.now())
            )
        }
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<32 { group.addTask { try await provider.location().version } }
            for try await version in group { #expect(version == 1) }
        }
        #expect(asked.withLock { $0 } == 1)
        #expect(try await provider.location(after: 1).version == 2)
        // A late refusal of the first does not throw the second away.
        #expect(try await provider.location(after: 1).version == 2)
        #expect(asked.withLock { $0 } == 2)
    }
}
