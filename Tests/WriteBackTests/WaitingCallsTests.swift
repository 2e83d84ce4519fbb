import Foundation
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct WaitingCallsTests {
    @Test func aSignalFindsWhatACallWaitsFor() throws {
        var budget = StagingBudget(limit: 10)
        _ = budget.request(10)
        guard case .wait(let ticket) = budget.request(5) else { throw JournalLife.Wrong(what: "no wait") }
        var calls = WaitingCalls()
        calls.queue(1, ticket)
        calls.begin(2)
        #expect([1, 2, 3].map { calls.isInterrupted($0) } == [false, false, false])
        let found = [1, 1, 2, 3].map { calls.interrupt($0) }
        #expect(found == [ticket, nil, nil, nil])
        #expect([1, 2, 3].map { calls.isInterrupted($0) } == [false, true, false])
        calls.end(2)
        #expect(calls.isEmpty)
    }

    @Test func aWriterThatIsInterruptedWhileItWaitsForRoomHasWrittenNothing() async throws {
        let (life, first, second) = try await WriteBackLife.nearlyFull(seed: 31)
        let (mount, request) = (life.mount, life.request())
        let answers = Lock<[Result<Void, Errno>]>([])
        [UInt8](repeating: 2, count: 50).withUnsafeBytes { bytes in
            mount.write(request, second, bytes, at: 0) { result in answers.withLock { $0.append(result) } }
        }
        #expect(answers.withLock { $0.isEmpty })
        mount.interrupt(request)
        mount.interrupt(request)
        #expect(answers.withLock { $0.map(\.error) } == [.interrupted])
        #expect(mount.status.writers == 0)
        #expect(mount.core.withLock { $0.calls.isEmpty })
        #expect(try await life.attributes("b").size == 0)
        // The deadline that was set for it finds nobody.
        for handle in [first, second] { try await life.release(handle) }
        try await life.drain()
        #expect(answers.withLock { $0.count } == 1)
    }

    /// A trainer that is killed in fsync(2) or close(2) is not to wait for a bucket that does not answer.
    @Test(arguments: [false, true], [false, true])
    func whoWaitsForTheBucketIsInterrupted(closes: Bool, isEarly: Bool) async throws {
        var options = WriteBackLife.options()
        (options.isPublishedAtClose, options.isPublishedAtSync) = (true, true)
        let life = try WriteBackLife(seed: 32, Weather(), options)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        let (mount, request) = (life.mount, life.request())
        let answer = Lock<Result<Void, Errno>?>(nil)
        if closes {
            mount.flush(request, handle) { result in answer.withLock { $0 = result } }
        } else {
            mount.synchronize(request, handle, isDataOnly: false) { result in answer.withLock { $0 = result } }
        }
        // Early: perhaps before the disk has answered. Nothing that was started for the bucket is done meanwhile.
        if !isEarly { while !closes, mount.core.withLock({ $0.watchers.isEmpty }) { await Task.yield() } }
        mount.interrupt(request)
        while answer.withLock({ $0 == nil }) { await Task.yield() }
        #expect(answer.withLock { $0?.error } == .interrupted)
        #expect(mount.core.withLock { $0.calls.isEmpty && $0.watchers.isEmpty })
        // It is put into the bucket all the same.
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": [1, 2, 3]])
    }

    /// Room that is made at the moment in which a writer begins to wait is not lost.
    @Test func aWriterThatBeginsToWaitFindsRoomThatIsMadeMeanwhile() async throws {
        var options = WriteBackOptions()
        options.stagingLimit = 100
        let life = try WriteBackLife(seed: 33, Weather(), options)
        let handle = try await life.create("a")
        try await life.write([UInt8](repeating: 1, count: 90), handle, at: 0)
        for round in 0..<1000 {
            let (mount, request) = (life.mount, life.request())
            let answer = Lock<Result<Void, Errno>?>(nil)
            let other = Thread { mount.giveBack(50) }
            other.start()
            [UInt8](repeating: 2, count: 50).withUnsafeBytes { bytes in
                mount.write(request, handle, bytes, at: 90 + round * 50) { result in answer.withLock { $0 = result } }
            }
            while !other.isFinished { await Task.yield() }
            let deadline = ContinuousClock.now.advanced(by: .seconds(60))
            while answer.withLock({ $0 == nil }), ContinuousClock.now < deadline { await Task.yield() }
            try #require(answer.withLock { $0?.error } == .none && answer.withLock { $0 != nil }, "round \(round)")
        }
    }
}
