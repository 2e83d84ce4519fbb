import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// O_EXCL where others write, too.
@Suite struct ExclusiveCreateTests {
    private let life: WriteBackLife

    /// Steps are done in any order: a deadline would often be the first.
    private static func options() -> WriteBackOptions {
        var options = WriteBackLife.options()
        options.isShared = true
        options.unlinkGrace = .zero
        options.publishDeadline = nil
        return options
    }

    init() throws { life = try WriteBackLife(seed: 71, Weather(), Self.options()) }

    @Test func whoIsFirstHasAnEmptyFileInTheBucketWhenTheCallReturns() async throws {
        let handle = try await life.create("lock", in: .root, .onlyNew)
        #expect(life.published == ["lock": []])
        try await life.write([1, 2], handle, at: 0)
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["lock": [1, 2]])
    }

    @Test func whoIsSecondIsToldSoAndLeavesNothing() async throws {
        // The directory is known, and then another machine is faster.
        _ = await life.call { [mount = life.mount, request = life.request()] in
            mount.lookup(request, "lock", in: .root, $0)
        }
        try life.bucket.plant("run/lock", [7])
        await #expect(throws: Errno.exists) { try await life.create("lock", in: .root, .onlyNew) }
        try await life.drain()
        #expect(life.published == ["lock": [7]])
        #expect(try await life.contents("lock") == [7])
        #expect(life.mount.status.conflicts.isEmpty)
        await #expect(throws: Errno.noEntry) { try await life.lookup("lock.conflict-1") }
    }

    @Test func aReplyThatIsLostMakesNobodyLoseToHimself() async throws {
        for seed in UInt64(0)..<40 {
            let life = try WriteBackLife(seed: seed, Weather(loss: 40), Self.options())
            for number in 0..<4 {
                let handle = try await life.create("lock-\(number)", in: .root, .onlyNew)
                #expect(life.published["lock-\(number)"] == [], "seed \(seed)")
                try await life.release(handle)
            }
            try await life.drain()
            #expect(life.published.count == 4, "seed \(seed)")
        }
    }

    @Test func aRequestThatComesAgainGetsTheSameAnswer() async throws {
        let created = try await again("lock")
        #expect(try created.get().file != nil)
        #expect(life.published == ["lock": []])
        // Others were faster: also after the file was taken away.
        _ = try? await life.lookup("other")
        try life.bucket.plant("run/other", [7])
        await #expect(throws: Errno.exists) { try await life.create("other", in: .root, .onlyNew) }
        let number = life.lastRequest
        try life.die()
        let (mount, resent) = (life.mount, life.request(number))
        let result: Result<(entry: TreeEntry, file: TreeFile?), Errno> = await life.call {
            mount.create(resent, "other", in: .root, mode: 0o644, open: [.read, .write], .onlyNew, $0)
        }
        #expect(throws: Errno.exists) { try result.get() }
        try await life.drain()
        #expect(life.published == ["lock": [], "other": [7]])
    }

    /// A create whose process dies before the bucket has answered, and that comes again.
    private func again(_ name: String) async throws -> Result<(entry: TreeEntry, file: TreeFile?), Errno> {
        _ = try? await life.lookup(name)
        let (before, request) = (life.mount, life.request())
        before.create(request, name, in: .root, mode: 0o644, open: [.read, .write], .onlyNew) { _ in }
        try life.die()
        let (mount, resent) = (life.mount, life.request(request.number))
        return await life.call {
            mount.create(resent, name, in: .root, mode: 0o644, open: [.read, .write], .onlyNew, $0)
        }
    }

    @Test func whoWaitsTooLongHasNoFile() async throws {
        var options = Self.options()
        options.publishDeadline = .seconds(600)
        let life = try WriteBackLife(seed: 73, Weather(), options)
        _ = try? await life.lookup("lock")
        let (mount, request) = (life.mount, life.request())
        let answer = Lock<Errno?>(nil)
        mount.create(request, "lock", in: .root, mode: 0o644, open: .write, .onlyNew) { result in
            answer.withLock { $0 = result.error }
        }
        // The deadline was started last, and comes first.
        while answer.withLock({ $0 == nil }), let work = life.pending.take(UInt64(life.pending.count - 1)) {
            await work()
        }
        #expect(answer.withLock { $0 } == .timedOut)
        try await life.drain()
        #expect(life.published == [:])
        await #expect(throws: Errno.noEntry) { try await life.lookup("lock") }
    }

    @Test func whereNobodyElseWritesNothingIsAskedOfTheBucket() async throws {
        let life = try WriteBackLife(seed: 72)
        _ = try? await life.lookup("lock")
        let calls = life.store.calls.count
        _ = try await life.create("lock", in: .root, .onlyNew)
        #expect(life.store.calls.count == calls)
    }
}
