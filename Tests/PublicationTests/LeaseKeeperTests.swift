import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import TestSupport
import Testing

struct LeaseKeeperTests {
    let time: ManualTime
    let bucket: MemoryBucket
    let paths = PenstockPaths(ObjectPrefix("p"))

    init() {
        time = ManualTime()
        bucket = MemoryBucket(time: time)
    }

    private func acquire(
        _ store: MemoryObjectStore,
        onLost: @escaping @Sendable () -> Void = {}
    ) async throws -> LeaseOutcome {
        try await LeaseKeeper.acquire(store, paths, purpose: "test", seconds: 60, time: time, onLost: onLost)
    }

    private func held(_ outcome: LeaseOutcome) throws -> LeaseKeeper {
        guard case .held(let keeper) = outcome else { throw Refused() }
        return keeper
    }

    private struct Refused: Error {}

    @Test func theSecondIsToldWhoHoldsItAndUntilWhen() async throws {
        let store = MemoryObjectStore(bucket)
        let keeper = try held(try await acquire(store))
        guard case .busy(let other, let expires, let now) = try await acquire(store) else {
            Issue.record("two hold one lease")
            return
        }
        #expect(other?.processID == Host.processID)
        #expect(other?.purpose == "test")
        #expect(now.duration(to: expires) == .seconds(60))
        await keeper.release()
        _ = try held(try await acquire(store))
    }

    @Test func anExpiredLeaseIsStolenAndItsHolderLosesIt() async throws {
        let store = MemoryObjectStore(bucket)
        let first = try held(try await acquire(store))
        time.jumpTimeOfDay(by: .seconds(61))
        let second = try held(try await acquire(MemoryObjectStore(bucket)))
        #expect(second.generation != first.generation)
        // The first one's own clock says that it is time to renew; the server refuses.
        time.advance(by: .seconds(31))
        await #expect(throws: PublicationError.self) { try await first.ensureHeld() }
        await first.release()
        try await second.ensureHeld()
    }

    @Test func renewalsKeepItAlive() async throws {
        let store = MemoryObjectStore(bucket)
        let keeper = try held(try await acquire(store))
        for _ in 0..<10 {
            await time.waitForSleepers()
            time.advance(by: .seconds(15))
            try await keeper.ensureHeld()
        }
        guard case .busy = try await acquire(MemoryObjectStore(bucket)) else {
            Issue.record("a lease that is renewed was stolen")
            return
        }
        await keeper.release()
    }

    @Test func aLostReplyToARenewalIsNotALostLease() async throws {
        let store = MemoryObjectStore(bucket)
        let keeper = try held(try await acquire(store))
        let hasLost = Lock(false)
        store.setHook { call in
            guard call.operation == .patch, call.moment == .before else { return nil }
            return hasLost.withLock { lost in
                defer { lost = true }
                return lost ? nil : .loseReply
            }
        }
        time.advance(by: .seconds(31))
        // The first renewal is performed and its reply lost: doubt, and the next one finds out.
        try? await keeper.ensureHeld()
        try await keeper.ensureHeld()
        await keeper.release()
    }
}
