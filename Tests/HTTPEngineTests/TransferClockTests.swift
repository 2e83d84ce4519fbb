import LinuxPlatform
import Testing

@testable import HTTPEngine

@Suite struct TransferClockTests {
    private static func at(_ seconds: Double) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: Int64(seconds * 1e9))
    }

    private func clock(bodyCount: Int = 0, deadline: Double = 1000) -> TransferClock {
        TransferClock(
            HTTPTimeouts(
                firstByte: .seconds(60),
                minimumBytesPerSecond: 100,
                slowFor: .seconds(20),
                deadline: Self.at(deadline)
            ),
            bodyCount: bodyCount
        )
    }

    @Test func inTheQueueOnlyTheDeadlineRuns() {
        var clock = clock()
        #expect(clock.due == Self.at(1000))
        #expect(clock.check(at: Self.at(999), sent: 0, received: 0) == nil)
        #expect(clock.check(at: Self.at(1000), sent: 0, received: 0) == .deadline)
    }

    @Test func theFirstByteIsAwaitedFromTheRequestOn() {
        var clock = clock()
        clock.connected(at: Self.at(100))
        #expect(clock.due == Self.at(160))
        #expect(clock.check(at: Self.at(159), sent: 0, received: 0) == nil)
        #expect(clock.check(at: Self.at(160), sent: 0, received: 0) == .firstByte)
    }

    @Test func theDeadlineComesBeforeALaterWait() {
        var clock = clock(deadline: 110)
        clock.connected(at: Self.at(100))
        #expect(clock.due == Self.at(110))
        #expect(clock.check(at: Self.at(110), sent: 0, received: 0) == .deadline)
    }

    @Test func sendingAgainStartsTheWaitAgain() {
        var clock = clock()
        clock.connected(at: Self.at(100))
        clock.connected(at: Self.at(150))
        #expect(clock.check(at: Self.at(209), sent: 0, received: 0) == nil)
        #expect(clock.check(at: Self.at(210), sent: 0, received: 0) == .firstByte)
    }

    @Test func anUploadMustKeepMoving() {
        var clock = clock(bodyCount: 1 << 20)
        clock.connected(at: Self.at(0))
        for second in stride(from: 5.0, through: 100, by: 5) {
            #expect(clock.check(at: Self.at(second), sent: Int(second) * 100, received: 0) == nil)
        }
        for second in stride(from: 105.0, through: 115, by: 5) {
            #expect(clock.check(at: Self.at(second), sent: 10_000, received: 0) == .stalled || second < 120)
        }
        #expect(clock.check(at: Self.at(120), sent: 10_000, received: 0) == .stalled)
    }

    @Test func theFirstByteOfAnUploadIsAwaitedFromItsLastByteOn() {
        var clock = clock(bodyCount: 1000)
        clock.connected(at: Self.at(0))
        clock.bodyHandedOver(at: Self.at(1))
        #expect(clock.due == Self.at(1))
        #expect(clock.check(at: Self.at(1), sent: 600, received: 0) == nil)
        #expect(clock.due == Self.at(5))
        #expect(clock.check(at: Self.at(5), sent: 1000, received: 0) == nil)
        #expect(clock.due == Self.at(65))
        #expect(clock.check(at: Self.at(65), sent: 1000, received: 0) == .firstByte)
    }

    @Test func aReplyMustKeepMoving() {
        var clock = clock()
        clock.connected(at: Self.at(0))
        clock.replyBegan(at: Self.at(50), received: 20)
        #expect(clock.due == Self.at(55))
        #expect(clock.check(at: Self.at(55), sent: 0, received: 5000) == nil)
        for second in [60.0, 65] {
            #expect(clock.check(at: Self.at(second), sent: 0, received: 5000) == nil)
        }
        #expect(clock.check(at: Self.at(70), sent: 0, received: 5000) == nil, "5,000 bytes in 20 s are enough")
        #expect(clock.check(at: Self.at(75), sent: 0, received: 5000) == .stalled)
    }

    @Test func looksAtALateMomentAreNoStall() {
        var clock = clock()
        clock.replyBegan(at: Self.at(0), received: 0)
        #expect(clock.check(at: Self.at(500), sent: 0, received: 10) == nil, "the loop slept, not the peer")
    }

    @Test func aMinimumOfZeroNeverStalls() {
        var clock = TransferClock(HTTPTimeouts(minimumBytesPerSecond: 0), bodyCount: 0)
        clock.replyBegan(at: Self.at(0), received: 0)
        #expect(clock.due == .distantFuture)
        for second in 1...10 { #expect(clock.check(at: Self.at(Double(second) * 1000), sent: 0, received: 0) == nil) }
    }
}
