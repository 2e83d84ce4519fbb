import BlockCache
import ObjectStorage
import TestSupport
import Testing

@testable import ReadAhead

struct LoadPlanTests {
    /// What both plans of a file fetch for a row of reads, with memory for everything; a read fetches what is not there.
    private struct Player {
        let size: Int
        var plan: ReadAheadPlan
        var load: LoadPlan
        var fetched: Set<Int> = []
        var read: Set<Int> = []
        var twice = 0
        /// Requests that readers had to wait for.
        var misses = 0
        var order: [Int] = []

        init(size: Int, pieceEnds: [Int] = [], dataStart: Int = 0) {
            self.size = size
            plan = ReadAheadPlan(size: size)
            load = LoadPlan(size: size)
            if !pieceEnds.isEmpty {
                plan.learn(pieceEnds: pieceEnds, dataStart: dataStart)
                load.learn(pieceEnds: pieceEnds)
            }
        }

        private func granules(_ range: ByteRange) -> ClosedRange<Int> {
            range.offset / BlockGeometry.granuleSize...(range.end - 1) / BlockGeometry.granuleSize
        }

        private mutating func fetch(_ blocks: Range<Int>) {
            let range = ByteRange(
                offset: blocks.lowerBound << 20,
                count: min(blocks.upperBound << 20, size) - blocks.lowerBound << 20
            )
            for granule in granules(range) { fetched.insert(granule) }
        }

        mutating func read(_ offset: Int, _ count: Int, memory: Int = 64 << 20) {
            let range = ByteRange(offset: offset, count: min(count, size - offset))
            if let wish = plan.note(range, windowLimit: memory) {
                plan.taken(wish, through: wish.blocks.upperBound)
                fetch(wish.blocks)
            }
            var isMiss = false
            for granule in granules(range) {
                if fetched.insert(granule).inserted { isMiss = true }
                read.insert(granule)
            }
            if isMiss { misses += 1 }
            load.note(range)
            if let wish = load.wish(jumps: plan.jumps, limit: memory) {
                load.taken(wish)
                order += wish
                fetch(wish)
            }
        }

        var ratio: Double { Double(fetched.count) / Double(max(read.count, 1)) }
    }

    /// Tensors of a file, with their ends.
    private func tensors(_ random: inout SeededRandom, size: Int, largest: Int) -> [Range<Int>] {
        var start = 100_000
        var tensors = [0..<start]
        while start < size {
            let end = min(start + Int.random(in: 4096...largest, using: &random), size)
            tensors.append(start..<end)
            start = end
        }
        return tensors
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func aLoaderThatTakesTensorsInAnyOrderGetsTheFileInTheOrderOfOffsets(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let size = Int.random(in: 100...400, using: &random) << 20
        let all = tensors(&random, size: size, largest: 12 << 20)
        var player = Player(size: size, pieceEnds: all.map(\.upperBound), dataStart: 100_000)
        player.read(0, 100_000)
        for tensor in all.dropFirst().shuffled(using: &random) {
            for start in stride(from: tensor.lowerBound, to: tensor.upperBound, by: 1 << 17) {
                player.read(start, min(1 << 17, tensor.upperBound - start))
            }
        }
        #expect(player.load.isLoad, "seed \(seed)")
        #expect(player.order == player.order.sorted())
        #expect(player.order.count == Set(player.order).count)
        #expect(player.ratio == 1)
    }

    @Test func severalProcessesWithTensorsOfTheirOwnAreOneLoad() {
        var random = SeededRandom(seed: 4)
        let size = 300 << 20
        let all = tensors(&random, size: size, largest: 2 << 20)
        var player = Player(size: size, pieceEnds: all.map(\.upperBound), dataStart: 100_000)
        let order = all.shuffled(using: &random)
        let queues = (0..<8).map { rank in order.enumerated().filter { $0.offset % 8 == rank }.map(\.element) }
        for index in 0..<(queues.map(\.count).max() ?? 0) {
            for queue in queues where index < queue.count {
                player.read(queue[index].lowerBound, queue[index].count)
            }
        }
        #expect(player.load.isLoad)
        #expect(player.ratio == 1)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func whoReadsHereAndTherePaysForThatAlone(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let size = 2 << 30
        let all = tensors(&random, size: size, largest: 50 << 20)
        var player = Player(size: size, pieceEnds: seed % 2 == 0 ? all.map(\.upperBound) : [], dataStart: 100_000)
        for _ in 0..<3000 { player.read(Int.random(in: 1 << 20..<size - 4096, using: &random), 4096) }
        #expect(!player.load.isLoad)
        #expect(player.ratio <= 1.1, "seed \(seed): \(player.ratio)")
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func whoWantsSomeTensorsPaysForThose(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let size = 1 << 30
        var start = 100_000
        var all = [0..<start]
        while start < size {
            let end = min(start + Int.random(in: 20 << 20...40 << 20, using: &random), size)
            all.append(start..<end)
            start = end
        }
        var player = Player(size: size, pieceEnds: all.map(\.upperBound), dataStart: 100_000)
        player.read(0, 100_000)
        // Three of them, none beside another.
        for index in [2, 7, 11] {
            for offset in stride(from: all[index].lowerBound, to: all[index].upperBound, by: 1 << 17) {
                player.read(offset, min(1 << 17, all[index].upperBound - offset))
            }
        }
        #expect(player.ratio <= 1.1, "seed \(seed): \(player.ratio)")
    }

    @Test func readingInOrderIsLeftToTheCursor() {
        var player = Player(size: 200 << 20)
        for offset in stride(from: 0, to: 200 << 20, by: 1 << 17) { player.read(offset, 1 << 17) }
        #expect(!player.load.isLoad)
        #expect(player.order.isEmpty && player.ratio == 1)
    }

    @Test func whatNobodyTouchesStaysBelowTheLimit() {
        var random = SeededRandom(seed: 1)
        let size = 1 << 30
        var plan = LoadPlan(size: size)
        let ends = stride(from: 1 << 20, through: size, by: 1 << 20)
        plan.learn(pieceEnds: Array(ends))
        var isLoad = false
        for block in (0..<1024).shuffled(using: &random) {
            plan.note(ByteRange(offset: block << 20, count: 1 << 20))
            while let wish = plan.wish(jumps: 10, limit: 32 << 20) { plan.taken(wish) }
            #expect(plan.waiting <= 32)
            isLoad = isLoad || plan.isLoad
        }
        #expect(isLoad && plan.waiting == 0 && plan.askedBytes == size)
    }

    @Test func atTheLimitItAsksForWholeChunks() {
        let size = 256 << 20
        var load = LoadPlan(size: size)
        var wishes: [Range<Int>] = []
        // Every fourth block first, which makes it a load; then in order, as slowly as the limit allows.
        let blocks = Array(stride(from: 0, to: 192, by: 4)) + Array(0..<256)
        for block in blocks {
            load.note(ByteRange(offset: block << 20, count: 1 << 20))
            guard let wish = load.wish(jumps: 48, limit: 32 << 20) else { continue }
            load.taken(wish)
            wishes.append(wish)
        }
        let ahead = wishes.filter { $0.lowerBound >= 192 }
        #expect(ahead.count > 4 && ahead.allSatisfy { $0.count == 8 || $0.upperBound == 256 }, "\(ahead)")
    }

    @Test func aWishThatWasNotTakenComesAgain() {
        var plan = LoadPlan(size: 100 << 20)
        plan.learn(pieceEnds: Array(stride(from: 1 << 20, through: 100 << 20, by: 1 << 20)))
        for block in 50..<70 { plan.note(ByteRange(offset: block << 20, count: 1 << 20)) }
        let first = plan.wish(jumps: 9, limit: 64 << 20)
        #expect(first == 0..<8)
        plan.taken(0..<3)
        #expect(plan.wish(jumps: 9, limit: 64 << 20) == 3..<11)
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func anyReadsAreWithinTheFile(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let size = Int.random(in: 1...64 << 20, using: &random)
        var plan = LoadPlan(size: size)
        if Bool.random(using: &random) {
            plan.learn(
                pieceEnds: (0..<10).map { _ in Int.random(in: 1..<max(2, size), using: &random) }.sorted() + [size]
            )
        }
        for _ in 0..<500 {
            let offset = Int.random(in: 0..<size, using: &random)
            plan.note(ByteRange(offset: offset, count: Int.random(in: 0...min(1 << 20, size - offset), using: &random)))
            if let wish = plan.wish(jumps: 5, limit: Int.random(in: 0...1 << 25, using: &random)) {
                #expect(!wish.isEmpty && (wish.upperBound - 1) << 20 < size)
                plan.taken(wish)
            }
        }
        #expect(plan.askedBytes <= size)
    }

    /// What torch 2.15 reads of an archive of 5 MiB: the recorded calls, as the kernel passes them on.
    @Test func torchLoadReadsAnArchiveOnce() {
        let size = 5_244_651
        var player = Player(size: size)
        let calls = [
            (0, 4096), (5_240_555, 4096), (5_244_629, 22), (5_244_609, 42), (5_244_553, 98), (5_244_024, 627),
            (5_243_858, 793), (5_243_740, 911), (377, 4096), (0, 4096), (4096, 4_190_912), (4_195_024, 4096),
            (4_199_120, 1_044_528), (5_243_664, 987),
        ]
        for (offset, count) in calls {
            for start in stride(from: offset, to: offset + count, by: 1 << 17) {
                player.read(start, min(1 << 17, offset + count - start))
            }
        }
        #expect(player.ratio == 1)
        #expect(player.misses <= 12)
    }
}
