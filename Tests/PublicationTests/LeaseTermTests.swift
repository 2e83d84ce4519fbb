import LinuxPlatform
import Publication
import Testing

struct LeaseTermTests {
    static func second(_ second: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: Int64(second) * 1_000_000_000)
    }

    @Test func itIsHeldThenDoubtfulThenLost() {
        let term = LeaseTerm(timeToLive: .seconds(60), sent: Self.second(100))
        #expect(term.standing(now: Self.second(129)) == .held)
        #expect(term.standing(now: Self.second(130)) == .renewFirst)
        #expect(term.standing(now: Self.second(159)) == .renewFirst)
        #expect(term.standing(now: Self.second(160)) == .lost)
    }

    @Test func aRenewalCountsFromWhenItWasSent() {
        var term = LeaseTerm(timeToLive: .seconds(60), sent: Self.second(0))
        term.renewed(sent: Self.second(20))
        #expect(term.standing(now: Self.second(79)) == .renewFirst)
        #expect(term.standing(now: Self.second(80)) == .lost)
        term.renewed(sent: Self.second(10))
        #expect(term.standing(now: Self.second(79)) == .renewFirst, "an older reply changes nothing")
    }

    @Test func aRefusalIsFinal() {
        var term = LeaseTerm(timeToLive: .seconds(60), sent: Self.second(0))
        term.refused()
        term.renewed(sent: Self.second(1))
        #expect(term.standing(now: Self.second(1)) == .lost)
    }
}
