import TestSupport
import Testing

@testable import ReadAhead

struct DirectoryStreamTests {
    /// Begins files in an order; which lines were wished for, and how many files had been wished for before they were begun.
    private func play(
        _ order: [Int],
        of count: Int,
        limit: Int = 128
    ) -> (wished: [Int], hits: Int, stream: DirectoryStream) {
        var stream = DirectoryStream(lineCount: count)
        var wished: [Int] = []
        var ahead: Set<Int> = []
        var hits = 0
        for line in order {
            if ahead.contains(line) { hits += 1 }
            guard let wish = stream.begun(line, limit: limit) else { continue }
            stream.taken(wish, through: wish.lines.upperBound)
            wished += wish.lines
            ahead.formUnion(wish.lines)
        }
        return (wished, hits, stream)
    }

    @Test func filesReadInOrderAreWishedForOnceEach() {
        let (wished, hits, stream) = play(Array(0..<1000), of: 1000)
        #expect(wished == Array(3..<1000))
        #expect(hits == 997)
        #expect(stream.cursors.map(\.window) == [128])
    }

    @Test func theWindowStaysBelowTheLimit() {
        var stream = DirectoryStream(lineCount: 1000)
        for line in 0..<500 {
            guard let wish = stream.begun(line, limit: 10) else { continue }
            #expect(wish.lines.upperBound <= line + 1 + 10)
            stream.taken(wish, through: wish.lines.upperBound)
        }
    }

    @Test func withoutMemoryNothingIsWishedFor() {
        #expect(play(Array(0..<100), of: 100, limit: 0).wished.isEmpty)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func severalWorkersOnOneQueueAreOneStream(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var order = Array(0..<1000)
        // Each begins up to eight places late.
        for start in stride(from: 0, to: 1000, by: 8) { order[start..<min(start + 8, 1000)].shuffle(using: &random) }
        let (wished, hits, _) = play(order, of: 1000)
        #expect(Set(wished).count == wished.count)
        #expect(hits > 950, "seed \(seed): \(hits)")
    }

    @Test func workersWithAPartEachAreStreamsOfTheirOwn() {
        let order = (0..<250).flatMap { index in (0..<4).map { $0 * 250 + index } }
        let (wished, hits, stream) = play(order, of: 1000)
        #expect(hits > 950)
        #expect(wished.count <= 1000)
        #expect(stream.cursors.count <= 5)
    }

    @Test func everyFourthFileIsAStreamToo() {
        let (wished, hits, _) = play(Array(stride(from: 0, to: 1000, by: 4)), of: 1000)
        // Less than half of what is fetched would be used: it soon stops.
        #expect(wished.count < 400)
        #expect(hits > 5)
    }

    @Test func aSecondPassIsAStreamAgain() {
        let (wished, hits, _) = play(Array(0..<500) + Array(0..<500), of: 500)
        #expect(hits > 980 && wished.count < 1000)
    }

    @Test func gapsOfDirectoriesDoNotEndAStream() {
        let order = (0..<1000).filter { $0 % 5 != 3 }
        #expect(play(order, of: 1000).hits > 780)
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func randomBeginsWishForNextToNothing(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for count in [20, 100, 1000, 100_000] {
            let order = Array((0..<count).shuffled(using: &random).prefix(1000))
            let wasted = play(order, of: count).wished.count
            #expect(wasted * 10 <= order.count * 3, "seed \(seed), \(count) files: \(wasted)")
        }
    }

    @Test func aStreamThatTurnsRandomStops() {
        var random = SeededRandom(seed: 5)
        let order = Array(0..<300) + (0..<700).map { _ in Int.random(in: 300..<100_000, using: &random) }
        #expect(play(order, of: 100_000).wished.count < 300 + 128 + 70)
    }

    @Test func aWishThatWasNotTakenComesAgain() throws {
        var stream = DirectoryStream(lineCount: 100)
        var first: DirectoryStream.Wish?
        for line in 0..<4 { first = first ?? stream.begun(line, limit: 8) }
        let refused = try #require(first)
        stream.taken(refused, through: refused.lines.lowerBound + 1)
        let second = stream.begun(4, limit: 8)
        let again = try #require(second)
        #expect(again.lines.lowerBound == max(refused.lines.lowerBound + 1, 5))
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func wishesStayInTheDirectoryAndTheLimit(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let count = Int.random(in: 1...300, using: &random)
        var stream = DirectoryStream(lineCount: count)
        var line = 0
        for _ in 0..<1000 {
            line = Bool.random(using: &random) ? (line + 1) % count : Int.random(in: 0..<count, using: &random)
            let limit = Int.random(in: 0...64, using: &random)
            guard let wish = stream.begun(line, limit: limit) else { continue }
            #expect(!wish.lines.isEmpty && wish.lines.upperBound <= count && wish.lines.count <= limit + 64)
            stream.taken(wish, through: Int.random(in: wish.lines.lowerBound...wish.lines.upperBound, using: &random))
        }
        #expect(stream.cursors.count <= DirectoryStream.maximumCursors)
    }
}
