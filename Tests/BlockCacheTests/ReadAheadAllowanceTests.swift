import Testing

@testable import BlockCache

struct ReadAheadAllowanceTests {
    @Test func aContentStoreSetsNoLimit() {
        var allowance = ReadAheadAllowance()
        let before = allowance.limit
        for _ in 0..<100 { allowance.ended(well: true) }
        #expect(allowance.limit == before && before > 1000)
    }

    @Test func eachRoundOfWishesHalves() {
        var allowance = ReadAheadAllowance()
        var limits: [Int] = []
        for _ in 0..<6 {
            let onTheirWay = min(32, allowance.limit)
            for _ in 0..<onTheirWay { allowance.throttled(onTheirWay: onTheirWay) }
            limits.append(allowance.limit)
            for _ in 0..<onTheirWay { allowance.ended(well: false) }
        }
        #expect(limits == [16, 8, 4, 2, 2, 2])
    }

    @Test func whatEndsWellOpensItAgain() {
        var allowance = ReadAheadAllowance()
        allowance.throttled(onTheirWay: 8)
        #expect(allowance.limit == 4)
        for _ in 0..<17 { allowance.ended(well: true) }
        #expect(allowance.limit == 6)
        for _ in 0..<3000 { allowance.ended(well: true) }
        #expect(allowance.limit > 1000)
    }
}
