import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct SmallFileGatheringTests {
    private func node(_ number: Int) -> NameNode { NameNode(number: number) }

    private func ticked(_ gathering: inout SmallFileGathering) -> [NameNode] { gathering.tick() }

    @Test func allGoWhenNoOtherWasClosedForATick() {
        var gathering = SmallFileGathering()
        gathering.add(node(2))
        #expect(ticked(&gathering) == [])
        gathering.add(node(1))
        gathering.add(node(2))
        #expect(ticked(&gathering) == [])
        #expect(ticked(&gathering) == [node(1), node(2)])
        #expect(gathering.isEmpty)
        // Said once.
        let answers = [gathering.takeDue(node(1)), gathering.takeDue(node(1))]
        #expect(answers == [true, false])
    }

    @Test func whoNeverStopsIsNotWaitedForForEver() {
        var gathering = SmallFileGathering()
        for tick in 1..<SmallFileGathering.limit {
            gathering.add(node(tick))
            #expect(ticked(&gathering) == [])
        }
        gathering.add(node(SmallFileGathering.limit))
        #expect(ticked(&gathering).count == SmallFileGathering.limit)
        // The count begins anew.
        gathering.add(node(100))
        #expect(ticked(&gathering) == [])
    }

    @Test func whatWasForgottenDoesNotGo() {
        var gathering = SmallFileGathering()
        gathering.add(node(1))
        gathering.forget(node(1))
        #expect(gathering.isEmpty)
        #expect(ticked(&gathering) == [])
        let isDue = gathering.takeDue(node(1))
        #expect(!isDue)
    }

    @Test func aFileThatIsRemovedAtOnceCostsNoRequest() async throws {
        let life = try WriteBackLife(seed: 21)
        for name in ["journal", "kept"] {
            let handle = try await life.create(name)
            try await life.write([1, 2, 3], handle, at: 0)
            try await life.release(handle)
        }
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, "journal", in: .root, $0) }.get()
        for _ in 0..<2000 where !life.mount.status.isSettled || life.pending.count > 0 { await life.step() }
        #expect(life.published == ["kept": [1, 2, 3]])
        #expect(life.store.calls.count { $0.operation == .put } == 1)
        #expect(life.store.calls.count { $0.operation == .delete } == 0)
    }

    /// fsync(2) or close(2) that wait for the bucket are not to wait for a quiet moment, nor an empty file for its first byte.
    @Test(arguments: [0, 3]) func whoWaitsForAFileDoesNotWaitForAGrace(size: Int) async throws {
        var options = WriteBackLife.options()
        options.isPublishedAtClose = true
        let life = try WriteBackLife(seed: 22, Weather(), options)
        let handle = try await life.create("a")
        if size > 0 { try await life.write([UInt8](repeating: 5, count: size), handle, at: 0) }
        let (mount, request) = (life.mount, life.request())
        let sleeps = life.time.sleeps.count
        let answer = Lock<Result<Void, Errno>?>(nil)
        mount.flush(request, handle) { result in answer.withLock { $0 = result } }
        // In the order in which it was begun: the deadline of the call comes last.
        while answer.withLock({ $0 == nil }), let work = life.pending.take(0) { await work() }
        try answer.withLock { $0 }?.get()
        #expect(life.published["a"]?.count == size)
        #expect(life.time.sleeps.count == sleeps)
    }
}
