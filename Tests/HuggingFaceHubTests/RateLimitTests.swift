import HTTPEngine
import LinuxPlatform
import Testing

@testable import HuggingFaceHub

@Suite struct RateLimitReportTests {
    @Test func readsTheHubsForm() {
        let report = RateLimitReport("\"resolvers\";r=2999;t=172")
        #expect(report?.bucket == "resolvers" && report?.remaining == 2999 && report?.resetSeconds == 172)
        #expect(RateLimitReport("\"api\"; r=0; t=55")?.resetSeconds == 55)
    }

    @Test(arguments: ["", "api;r=1;t=2", "\"api\"", "\"api\";r=x;t=1", "\"api\";r=-1;t=1", "\"", "\"api\";r=1"])
    func ignoresOthers(_ text: String) {
        #expect(RateLimitReport(text) == nil)
    }
}

@Suite struct RateLimitStateTests {
    private let start = MonotonicInstant(nanoseconds: 0)
    private func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }
    private func headers(_ remaining: Int, _ reset: Int) -> HTTPHeaders {
        [("RateLimit", "\"api\";r=\(remaining);t=\(reset)")]
    }

    @Test func letsAllGoWithoutReports() {
        var state = RateLimitState(workers: 4)
        for _ in 0..<10_000 { #expect(state.admit(.api, now: start) == .go) }
    }

    @Test func stopsEverybodyAt429AndTellsOnce() {
        var state = RateLimitState(workers: 4)
        state.record(.api, status: 429, headers: headers(0, 55), now: start)
        #expect(state.admit(.api, now: at(1)) == .wait(until: at(56), isNews: true))
        #expect(state.admit(.api, now: at(2)) == .wait(until: at(56), isNews: false))
        #expect(state.admit(.resolvers, now: at(2)) == .go)
        #expect(state.admit(.api, now: at(56)) == .go)
    }

    @Test func obeysRetryAfter() {
        var state = RateLimitState(workers: 4)
        state.record(.api, status: 429, headers: [("Retry-After", "7")], now: start)
        #expect(state.admit(.api, now: start) == .wait(until: at(8), isNews: true))
    }

    @Test func pausesForAWhileWhenA429SaysNothing() {
        var state = RateLimitState(workers: 4)
        state.record(.api, status: 429, headers: [], now: start)
        #expect(state.admit(.api, now: start) == .wait(until: at(5), isNews: true))
    }

    @Test func countsDownBetweenReplies() {
        var state = RateLimitState(workers: 1)
        state.record(.api, status: 200, headers: headers(3, 60), now: start)
        for _ in 0..<3 { #expect(state.admit(.api, now: at(1)) == .go) }
        #expect(state.admit(.api, now: at(1)) == .wait(until: at(61), isNews: true))
        #expect(state.admit(.api, now: at(61)) == .go)
    }

    @Test func spreadsTheLastRequestsOverTheWindow() {
        var state = RateLimitState(workers: 8)
        state.record(.api, status: 200, headers: headers(3, 59), now: start)
        #expect(state.admit(.api, now: start) == .go)
        #expect(state.admit(.api, now: start) == .wait(until: at(15), isNews: false))
        #expect(state.admit(.api, now: at(15)) == .go)
    }

    @Test func believesTheSmallerCountOfOneWindow() {
        var state = RateLimitState(workers: 1)
        state.record(.api, status: 200, headers: headers(1, 60), now: start)
        state.record(.api, status: 200, headers: headers(40, 60), now: start)
        #expect(state.admit(.api, now: start) == .go)
        #expect(state.admit(.api, now: start) == .wait(until: at(61), isNews: true))
    }

    @Test func startsAgainWithANewWindow() {
        var state = RateLimitState(workers: 1)
        state.record(.api, status: 200, headers: headers(0, 10), now: start)
        state.record(.api, status: 200, headers: headers(500, 300), now: at(10))
        #expect(state.admit(.api, now: at(10)) == .go)
    }

    @Test func boundsWhatAServerCanImpose() {
        var state = RateLimitState(workers: 1)
        state.record(.api, status: 429, headers: headers(0, 9_999_999_999), now: start)
        state.record(.resolvers, status: 429, headers: [("Retry-After", "999999999999")], now: start)
        #expect(state.admit(.api, now: start) == .wait(until: at(3600), isNews: true))
        #expect(state.admit(.resolvers, now: start) == .wait(until: at(3600), isNews: true))
    }
}
