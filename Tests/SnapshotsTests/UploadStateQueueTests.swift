import Checksums
import ObjectStorage
import TestSupport
import Testing
import TransferEngine

@testable import Snapshots

struct UploadStateQueueTests {
    private static func unit(_ index: Int) -> HashedUnit {
        let mark = DigestMark(offset: index + 1, crc32c: .empty, sha256State: [], gitState: nil)
        return HashedUnit(range: ByteRange(offset: index, count: 1), granules: [], mark: mark)
    }

    private static func batch(_ admission: UploadStateQueue<Int>.Admission) -> [Int]? {
        if case .save(let units) = admission { units.map(\.range.offset) } else { nil }
    }

    @Test func theFirstUnitIsSavedAtOnceAndTheNextSaveTakesAllThatCameMeanwhile() {
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 100)
        #expect(Self.batch(queue.add(Self.unit(0), 0)) == [0])
        #expect(Self.batch(queue.add(Self.unit(2), 2)) == nil)
        #expect(Self.batch(queue.add(Self.unit(1), 1)) == nil)
        let outcome = queue.saved(true)
        #expect(outcome.released.isEmpty && outcome.next?.saver == 1)
        #expect(outcome.next?.batch.map(\.range.offset) == [1, 2])
        let last = queue.saved(true)
        #expect(last.released == [2] && last.next == nil && queue.covered == 3)
    }

    @Test func aUnitWhoseForerunnerIsMissingWaits() {
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 100)
        #expect(Self.batch(queue.add(Self.unit(1), 1)) == nil)
        #expect(queue.covered == 0)
        #expect(Self.batch(queue.add(Self.unit(0), 0)) == [0, 1])
        #expect(queue.saved(true).released == [1])
    }

    @Test func nobodyWaitsForASaveThatFailedAndALaterOneTakesItsUnitsAlong() {
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 100)
        _ = queue.add(Self.unit(0), 0)
        _ = queue.add(Self.unit(1), 1)
        #expect(queue.saved(false).released == [1])
        #expect(queue.covered == 0)
        #expect(Self.batch(queue.add(Self.unit(2), 2)) == [0, 1, 2])
        #expect(queue.saved(true).released.isEmpty && queue.covered == 3)
    }

    @Test func aSpanHasABound() {
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 2)
        for index in 1...3 { _ = queue.add(Self.unit(index), index) }
        #expect(Self.batch(queue.add(Self.unit(0), 0)) == [0, 1])
        #expect(queue.saved(true).next?.batch.map(\.range.offset) == [2, 3])
    }

    @Test func nobodyWaitsOnceItIsClosed() {
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 100)
        _ = queue.add(Self.unit(2), 2)
        #expect(queue.close() == [2])
        guard case .leave = queue.add(Self.unit(0), 0) else {
            Issue.record("a closed queue took a unit")
            return
        }
    }

    /// Units in any order, saves that fail or succeed: every waiter is told exactly once, and covered only grows.
    @Test(arguments: 0..<50) func everyWaiterIsToldOnce(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = UploadStateQueue<Int>(from: 0, maximumSpan: 7)
        var coming = Array(0..<40).shuffled(using: &random)
        var told: [Int: Int] = [:]
        var isSaving = false
        func tell(_ waiter: Int) { told[waiter, default: 0] += 1 }
        func follow(_ outcome: UploadStateQueue<Int>.Outcome) {
            outcome.released.forEach(tell)
            if let next = outcome.next { tell(next.saver) }
            isSaving = outcome.next != nil
        }
        while !coming.isEmpty || isSaving {
            if isSaving, coming.isEmpty || Bool.random(using: &random) {
                let before = queue.covered
                follow(queue.saved(Int.random(in: 0..<5, using: &random) > 0))
                #expect(queue.covered >= before)
            } else if let index = coming.popLast() {
                if case .save = queue.add(Self.unit(index), index) {
                    #expect(!isSaving, "two saves at once")
                    isSaving = true
                    tell(index)
                }
            }
        }
        queue.close().forEach(tell)
        #expect(told.count == 40 && told.values.allSatisfy { $0 == 1 }, "seed \(seed): \(told)")
    }
}
