import Testing
import TransferEngine

struct OrderedQueueTests {
    @Test func piecesComeOutInFileOrderWhateverOrderTheyArriveIn() {
        for seed in 0..<200 {
            var generator = SplitMix(state: UInt64(seed))
            var queue = OrderedQueue<Int>(from: 100)
            var pieces: [(offset: Int, count: Int)] = []
            var position = 100
            for _ in 0..<20 {
                let count = Int.random(in: 1...9, using: &generator)
                pieces.append((position, count))
                position += count
            }
            var taken: [Int] = []
            for piece in pieces.shuffled(using: &generator)
            where queue.insert(offset: piece.offset, count: piece.count, piece.offset) {
                while let (offset, value) = queue.next() {
                    #expect(offset == value)
                    taken.append(offset)
                }
            }
            #expect(taken == pieces.map(\.offset))
            #expect(queue.frontier == position && queue.waitingCount == 0)
        }
    }

    @Test func thereIsNeverASecondTaker() {
        var queue = OrderedQueue<Int>()
        let first = queue.insert(offset: 0, count: 5, 0)
        let taken = queue.next()?.offset
        let second = queue.insert(offset: 5, count: 5, 5)
        #expect(first && taken == 0)
        #expect(!second, "the first taker is still at work")
        let last = queue.next()?.offset
        let end = queue.next() == nil
        #expect(last == 5 && end)
        let third = queue.insert(offset: 10, count: 1, 10)
        #expect(third, "its turn was over")
    }

    @Test func drainTakesOutWhatWaits() {
        var queue = OrderedQueue<Int>()
        let becomesTaker = [queue.insert(offset: 5, count: 5, 1), queue.insert(offset: 10, count: 5, 2)]
        #expect(becomesTaker == [false, false])
        let drained = queue.drain().sorted()
        #expect(drained == [1, 2])
        #expect(queue.waitingCount == 0)
    }
}
