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
        let found = [UInt64](arrayLiteral: 1, 1, 2, 3).map { number -> StagingBudget.Ticket? in
            if case .queued(let ticket)? = calls.interrupt(number, isKill: false) { ticket } else { nil }
        }
        #expect(found == [ticket, nil, nil, nil])
        #expect([1, 2, 3].map { calls.isInterrupted($0) } == [false, true, false])
        calls.end(2)
        #expect(calls.isEmpty)
    }

    /// A listing and a read that the bucket does not answer: whoever is killed does not wait for them.
    @Test func whoIsKilledWhileItAsksTheBucketGoesAtOnce() async throws {
        let life = try WriteBackLife(seed: 37)
        life.isKilled.withLock { $0 = true }
        try life.bucket.plant("run/a", [1, 2, 3])
        let (mount, request) = (life.mount, life.request())
        let answers = Lock<[Errno?]>([])
        mount.makeDirectory(request, "b", in: .root, mode: 0o755) { result in
            answers.withLock { $0.append(result.error) }
        }
        #expect(answers.withLock { $0.isEmpty })
        for _ in 0..<2 { mount.interrupt(request) }
        #expect(answers.withLock { $0 } == [.interrupted])
        #expect(mount.core.withLock { $0.calls.isEmpty })
        // The listing comes, and nobody has made anything.
        for _ in 0..<100 where life.pending.count > 0 { await life.step() }
        #expect(answers.withLock { $0.count } == 1)
        await #expect(throws: Errno.noEntry) { try await life.lookup("b") }

        let node = try await life.lookup("a")
        let open = life.request()
        let file = try await life.call { mount.open(open, node, .read, truncates: false, $0) }.get()
        let reading = life.request()
        let read = Lock<[Errno?]>([])
        mount.read(reading, file.handle, at: 0, count: 3) { result in read.withLock { $0.append(result.error) } }
        #expect(read.withLock { $0.isEmpty })
        mount.interrupt(reading)
        #expect(read.withLock { $0 } == [.interrupted])
        for _ in 0..<100 where life.pending.count > 0 { await life.step() }
        #expect(read.withLock { $0.count } == 1)
        #expect(try await life.read(file.handle) == [1, 2, 3])
        #expect(mount.core.withLock { $0.calls.isEmpty })
    }

    /// A handled signal is no reason to fail: no disk answers a mkdir(2) with EINTR. A kill may come after it.
    @Test func whoGetsAnotherSignalGetsTheAnswer() async throws {
        let life = try WriteBackLife(seed: 38)
        for isKilledLater in [false, true] {
            life.time.advance(by: .seconds(100))
            let (mount, request) = (life.mount, TreeRequest(number: life.request().number, thread: 7))
            let answers = Lock<[Errno?]>([])
            mount.makeDirectory(request, "\(isKilledLater)", in: .root, mode: 0o755) { result in
                answers.withLock { $0.append(result.error) }
            }
            mount.interrupt(request)
            #expect(answers.withLock { $0.isEmpty })
            life.isKilled.withLock { $0 = isKilledLater }
            // What was begun last is done first: the second look at the caller before the listing.
            while answers.withLock({ $0.isEmpty }), life.pending.count > 0 {
                await life.pending.take(UInt64(isKilledLater ? life.pending.count - 1 : 0))?()
            }
            #expect(answers.withLock { $0 } == [isKilledLater ? .interrupted : nil])
        }
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
