import TestSupport
import Testing
import TransferEngine

struct DecayingQuantilesTests {
    @Test func nothingIsKnownBeforeTheFirstValue() {
        #expect(DecayingQuantiles(smallest: 1).quantile(0.5) == nil)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func quantilesAreRightToNinePercent(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var quantiles = DecayingQuantiles(smallest: 1e-5, memory: 1_000_000)
        var values: [Double] = []
        for _ in 0..<1000 {
            // Over six orders of magnitude.
            let exponent = Double.random(in: -4...2, using: &random)
            let value = Double.random(in: 1...10, using: &random) * (exponent < 0 ? 1e-4 : 1)
            values.append(value)
            quantiles.add(value)
        }
        values.sort()
        for rank in [0.01, 0.25, 0.5, 0.9, 0.99] {
            let found = try #require(quantiles.quantile(rank))
            let exact = values[Int((rank * 1000).rounded(.up)) - 1]
            #expect(
                found >= exact * 0.999 && found <= exact * 1.13,
                "seed \(seed), rank \(rank): \(found), not \(exact)"
            )
        }
    }

    @Test func whatWasSeenLongAgoIsForgotten() throws {
        var quantiles = DecayingQuantiles(smallest: 1e-3, memory: 64)
        for _ in 0..<10_000 { quantiles.add(100) }
        for _ in 0..<200 { quantiles.add(1) }
        #expect(try #require(quantiles.quantile(0.5)) < 1.2)
    }

    @Test func oddValuesAreHeldInBounds() throws {
        var quantiles = DecayingQuantiles(smallest: 1)
        for value in [0, -5, 1e300, .infinity, .nan, .greatestFiniteMagnitude, .leastNonzeroMagnitude] as [Double] {
            quantiles.add(value)
        }
        #expect(quantiles.count == 5)
        #expect(try #require(quantiles.quantile(0)) <= 2)
        #expect(try #require(quantiles.quantile(1)) <= 8_589_934_592)
    }
}
