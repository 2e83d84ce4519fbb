import Testing

@testable import BlockCache

struct ReadAheadAllowanceTests {
    @Test func aContentStoreSetsNoLimit() {
        var allowance = ReadAheadAllowance()
        let before = allowance.limit
        for _ in 0..<100 { allowance.ended(well: true) }
        #expect(allowance.limit == before && before > 1000)
    }

    @Test func eachRoundOfWishesTakesAQuarter() {
        var allowance = ReadAheadAllowance()
        var limits: [Int] = []
        for _ in 0..<6 {
            let onTheirWay = min(32, allowance.limit)
            for _ in 0..<onTheirWay { allowance.throttled(onTheirWay: onTheirWay) }
            limits.append(allowance.limit)
            for _ in 0..<onTheirWay { allowance.ended(well: false) }
        }
        #expect(limits == [24, 18, 13, 9, 6, 4])
    }

    @Test func whatEndsWellOpensItAgain() {
        var allowance = ReadAheadAllowance()
        allowance.throttled(onTheirWay: 8)
        #expect(allowance.limit == 6)
        // Those that were on their way say nothing.
        for _ in 0..<8 { allowance.ended(well: true) }
        #expect(allowance.limit == 6)
        // One for each up to where it was, then half as many more for each round.
        for _ in 0..<2 { allowance.ended(well: true) }
        #expect(allowance.limit == 8)
        for _ in 0..<8 { allowance.ended(well: true) }
        #expect(allowance.limit == 12)
        for _ in 0..<3000 { allowance.ended(well: true) }
        #expect(allowance.limit > 1000)
    }

    @Test func whoIsToldAgainOnTheWayBackGoesBackToLess() {
        var allowance = ReadAheadAllowance()
        allowance.throttled(onTheirWay: 32)
        for _ in 0..<32 + 4 { allowance.ended(well: true) }
        #expect(allowance.limit == 28)
        allowance.throttled(onTheirWay: 28)
        #expect(allowance.limit == 21)
        for _ in 0..<28 + 9 { allowance.ended(well: true) }
        // Half way between where it was told and where it wanted to go.
        #expect(allowance.limit == 30)
        for _ in 0..<10 { allowance.ended(well: true) }
        #expect(allowance.limit == 30)
    }

    @Test func aRequestThatIsRefusedAloneIsNoReasonForMuchLess() {
        var allowance = ReadAheadAllowance()
        allowance.throttled(onTheirWay: 16)
        for _ in 0..<16 { allowance.ended(well: true) }
        allowance.throttled(onTheirWay: 1)
        #expect(allowance.limit == 4)
        var first = ReadAheadAllowance()
        first.throttled(onTheirWay: 1)
        #expect(first.limit == ReadAheadAllowance.least)
    }
}
