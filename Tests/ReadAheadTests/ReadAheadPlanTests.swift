import BlockCache
import ObjectStorage
import TestSupport
import Testing

@testable import ReadAhead

struct ReadAheadPlanTests {
    private static let mebibyte = 1 << 20

    /// Reads from `start` on in steps, taking every wish; the blocks that were wished for, in order.
    private func stream(
        _ plan: inout ReadAheadPlan,
        from start: Int,
        count: Int,
        step: Int = 1 << 17,
        limit: Int = 64 << 20
    ) -> [Range<Int>] {
        var wishes: [Range<Int>] = []
        for index in 0..<count {
            guard let wish = plan.note(ByteRange(offset: start + index * step, count: step), windowLimit: limit) else {
                continue
            }
            plan.taken(wish, through: wish.blocks.upperBound)
            wishes.append(wish.blocks)
        }
        return wishes
    }

    @Test func theWindowDoublesUpToItsLimit() {
        var plan = ReadAheadPlan(size: 1 << 30)
        _ = stream(&plan, from: 0, count: 2000)
        #expect(plan.cursors.map(\.window) == [64 << 20])
        var bounded = ReadAheadPlan(size: 1 << 30)
        _ = stream(&bounded, from: 0, count: 2000, limit: 10 << 20)
        #expect(bounded.cursors.map(\.window) == [10 << 20])
    }

    @Test func aStreamIsFetchedWholeAndOnceInOrder() {
        var plan = ReadAheadPlan(size: 300 * Self.mebibyte + 5)
        let wishes = stream(&plan, from: 0, count: 300 * 8)
        var next = 0
        for wish in wishes {
            #expect(wish.lowerBound == next)
            next = wish.upperBound
        }
        #expect(next == 301)
    }

    @Test func largeWindowsWishInChunksOfEightMebibytes() {
        var plan = ReadAheadPlan(size: 1 << 30)
        let late = stream(&plan, from: 0, count: 4000).suffix(10)
        #expect(late.allSatisfy { $0.count >= 8 && $0.upperBound % 8 == 0 })
    }

    @Test func aStreamWhoseReaderWaitsGoesOnAsFarAsMemoryAllows() {
        var plan = ReadAheadPlan(size: 1 << 30)
        _ = stream(&plan, from: 0, count: 4000)
        let position = 500 * Self.mebibyte
        var next = plan.cursors[0].nextBlock
        while let wish = plan.goOn(limit: 128 << 20) {
            #expect(wish.blocks.lowerBound == next && wish.blocks.count <= 8)
            plan.taken(wish, through: wish.blocks.upperBound)
            next = wish.blocks.upperBound
        }
        #expect(next * Self.mebibyte == (position + 128 << 20) / (8 << 20) * (8 << 20))
        #expect(plan.cursors.map(\.window) == [64 << 20])
        // What came of it is not wished for again.
        let more = stream(&plan, from: position, count: 8)
        #expect(more.isEmpty)
    }

    @Test func whatHasNotProvenToBeAStreamDoesNotGoOnByItself() {
        var plan = ReadAheadPlan(size: 1 << 30)
        #expect(plan.goOn(limit: 128 << 20) == nil)
        _ = stream(&plan, from: 0, count: 1)
        #expect(plan.goOn(limit: 128 << 20) == nil)
        _ = plan.note(ByteRange(offset: 700 << 20, count: 4096), windowLimit: 64 << 20)
        #expect(plan.goOn(limit: 128 << 20) == nil)
    }

    @Test func theEndOfTheFileEndsIt() {
        var plan = ReadAheadPlan(size: 200 * Self.mebibyte + 5)
        _ = stream(&plan, from: 0, count: 8 * 150)
        var wished = 0
        while let wish = plan.goOn(limit: 1 << 30) {
            plan.taken(wish, through: wish.blocks.upperBound)
            wished = wish.blocks.upperBound
        }
        #expect(wished <= 201 && plan.cursors[0].nextBlock == 201)
    }

    @Test func aRandomReaderWishesForNothing() {
        var plan = ReadAheadPlan(size: 1 << 40)
        var random = SeededRandom(seed: 3)
        for _ in 0..<500 {
            let offset = Int.random(in: 1..<1 << 39, using: &random)
            #expect(plan.note(ByteRange(offset: offset, count: 4096), windowLimit: 64 << 20) == nil)
        }
        #expect(plan.cursors.count == ReadAheadPlan.maximumCursors)
    }

    @Test func streamsSideBySideKeepTheirCursors() {
        var plan = ReadAheadPlan(size: 8 << 30)
        let starts = (0..<4).map { $0 << 31 }
        var counts = [Int](repeating: 0, count: 4)
        for index in 0..<400 {
            for (stream, start) in starts.enumerated() {
                let range = ByteRange(offset: start + index << 17, count: 1 << 17)
                guard let wish = plan.note(range, windowLimit: 64 << 20) else { continue }
                plan.taken(wish, through: wish.blocks.upperBound)
                counts[stream] += wish.blocks.count
            }
        }
        #expect(plan.cursors.count == 4)
        #expect(counts.allSatisfy { $0 >= 50 && $0 <= 50 + 65 })
    }

    @Test func readsThatOvertakeEachOtherAreOneStream() {
        var plan = ReadAheadPlan(size: 1 << 30)
        for pair in 0..<200 {
            for index in [pair * 2 + 1, pair * 2] {
                let range = ByteRange(offset: index << 20, count: 1 << 20)
                guard let wish = plan.note(range, windowLimit: 64 << 20) else { continue }
                plan.taken(wish, through: wish.blocks.upperBound)
            }
        }
        #expect(plan.cursors.map(\.window).filter { $0 > 0 } == [64 << 20])
    }

    @Test func aWishThatWasNotTakenComesAgain() throws {
        var plan = ReadAheadPlan(size: 1 << 30)
        let wish = plan.note(ByteRange(offset: 0, count: 4096), windowLimit: 64 << 20)
        let first = try #require(wish)
        plan.taken(first, through: first.blocks.lowerBound)
        let again = plan.note(ByteRange(offset: 4096, count: 4096), windowLimit: 64 << 20)
        let second = try #require(again)
        #expect(second.blocks.lowerBound == first.blocks.lowerBound)
    }

    @Test func nothingIsWishedForWithoutMemory() {
        var plan = ReadAheadPlan(size: 1 << 30)
        #expect(stream(&plan, from: 0, count: 100, limit: 1 << 19).isEmpty)
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func wishesStayInsideTheObjectAndTheWindow(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let size = Int.random(in: 1...1 << 28, using: &random)
        var plan = ReadAheadPlan(size: size)
        var offset = 0
        for _ in 0..<300 {
            if Int.random(in: 0..<10, using: &random) == 0 { offset = Int.random(in: 0..<size, using: &random) }
            let count = min(Int.random(in: 1...1 << 20, using: &random), size - offset)
            let limit = Int.random(in: 0...64, using: &random) << 20
            if let wish = plan.note(ByteRange(offset: offset, count: count), windowLimit: limit) {
                #expect(!wish.blocks.isEmpty && wish.blocks.lowerBound >= 0)
                #expect((wish.blocks.upperBound - 1) << 20 < size)
                let end = Int.random(in: wish.blocks.lowerBound...wish.blocks.upperBound, using: &random)
                plan.taken(wish, through: end)
            }
            offset = (offset + count) % size
        }
    }
}
