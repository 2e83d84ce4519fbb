import LinuxPlatform
import Testing

@testable import HTTPEngine

struct ReceiveBalanceTests {
    /// Rounds of a loop: what is on the socket when a poll comes back, and what is left of it after the turn.
    private struct Loop {
        var balance = ReceiveBalance()
        var now = MonotonicInstant(nanoseconds: 0)
        var verdicts: [Bool] = []

        mutating func round(sleeps: Int, isReady: Bool, isDrained: Bool, works: Int) {
            let began = now
            now = now.advanced(by: .milliseconds(sleeps))
            balance.polled(from: began, to: now, isReady: isReady)
            if isReady { verdicts.append(balance.received(isDrained: isDrained, at: now)) }
            now = now.advanced(by: .milliseconds(works))
        }
    }

    @Test func whoseBytesLieThereAtEveryPollIsBehind() {
        var loop = Loop()
        for _ in 0..<20 { loop.round(sleeps: 0, isReady: true, isDrained: false, works: 3) }
        #expect(loop.verdicts.contains(true))
    }

    @Test func aFastReplyThatIsEmptiedInEachRoundOfABusyLoopIsBehindToo() {
        var loop = Loop()
        for _ in 0..<20 { loop.round(sleeps: 0, isReady: true, isDrained: true, works: 5) }
        #expect(loop.verdicts.contains(true))
    }

    @Test func aSlowReplyThatComesInLumpsIsNotThoughTheLoopIsBusy() {
        var loop = Loop()
        // A lump takes two turns, and then nothing is there for three polls.
        for round in 0..<50 { loop.round(sleeps: 0, isReady: round % 5 < 2, isDrained: round % 5 == 1, works: 5) }
        #expect(loop.verdicts.count == 20)
        #expect(!loop.verdicts.contains(true))
    }

    @Test func whatAnIdleLoopSleepsForIsNot() {
        var loop = Loop()
        for _ in 0..<20 { loop.round(sleeps: 10, isReady: true, isDrained: true, works: 1) }
        #expect(!loop.verdicts.contains(true))
    }
}
