import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Telemetry
import TestSupport
import Testing

struct WriterLeaseTests {
    let time = ManualTime()
    let bucket: MemoryBucket

    init() { bucket = MemoryBucket(time: time) }

    private func lease(_ owner: String, _ store: MemoryObjectStore? = nil) throws -> WriterLease {
        WriterLease(
            store ?? MemoryObjectStore(bucket),
            try PenstockPaths(ObjectPrefix("p")).writer,
            owner: try #require(OperationID(owner)),
            purpose: "mount of gs://b/p",
            time: time,
            log: .disabled
        )
    }

    /// Moves the clock by two seconds whenever so many sleep, until the body has ended: not while anybody is at work.
    private func passing<Value: Sendable>(
        sleepers: Int,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let isDone = Lock(false)
        let work = Task {
            defer { isDone.withLock { $0 = true } }
            return try await body()
        }
        while !isDone.withLock({ $0 }) {
            if time.sleepers >= sleepers { time.advance(by: .seconds(2)) }
            await Task.yield()
        }
        return try await work.value
    }

    @Test func anotherMountThatLivesIsFoundOutByItsRenewal() async throws {
        let (first, second) = (try lease("a"), try lease("b"))
        try await first.take()
        let began = time.now()
        let error = await #expect(throws: PublicationError.self) {
            try await passing(sleepers: 2) { try await second.take() }
        }
        #expect(error?.code == .busy)
        #expect(error?.message.contains("mount of gs://b/p on") == true)
        #expect(began.duration(to: time.now()) <= .seconds(20))
        try await first.ensureHeld()
        await #expect(throws: ObjectStoreError.self) { try await second.ensureHeld() }
        await first.release()
        try await second.take()
        await second.release()
    }

    @Test func aDeadMountIsWaitedForAMinute() async throws {
        let store = MemoryObjectStore(bucket)
        let dead = try lease("a", store)
        try await dead.take()
        // Nothing that it does reaches the bucket any more.
        store.setHook { _ in .fail(ObjectStoreError(.unavailable, "gone")) }
        let (second, began) = (try lease("b"), time.now())
        // It and the dead one, which goes on trying.
        try await passing(sleepers: 2) { try await second.take() }
        #expect((.seconds(58)...(.seconds(70))).contains(began.duration(to: time.now())))
        try await second.ensureHeld()
        await second.release()
        await dead.release()
    }

    @Test func theNextProcessWithTheSameStagingDirectoryGoesOnAtOnce() async throws {
        let (first, next) = (try lease("a"), try lease("a"))
        try await first.take()
        let began = time.now()
        try await next.take()
        #expect(began == time.now())
        try await next.ensureHeld()
        // The old one was frozen, not dead: its renewal is refused, and it writes no more.
        time.advance(by: .seconds(31))
        await #expect(throws: ObjectStoreError.self) { try await first.ensureHeld() }
        await #expect(throws: ObjectStoreError.self) { try await first.ensureHeld() }
        await first.release()
        await next.release()
    }

    @Test func whatWasLostIsTakenAgainWhenTheOtherHasEnded() async throws {
        let (first, second) = (try lease("a"), try lease("b"))
        try await first.take()
        await time.waitForSleepers()
        // Asleep for longer than it holds; by the server's clock it was free meanwhile.
        time.jumpTimeOfDay(by: .seconds(61))
        try await second.take()
        time.advance(by: .seconds(31))
        await #expect(throws: ObjectStoreError.self) { try await first.ensureHeld() }
        await second.release()
        try await passing(sleepers: 1) {
            while true {
                do { return try await first.ensureHeld() } catch { await Task.yield() }
            }
        }
        await first.release()
        #expect(bucket.names == [])
    }

    @Test func aMountThatEndsWhileItSeeksLeavesNothing() async throws {
        let (first, second) = (try lease("a"), try lease("b"))
        try await first.take()
        second.pursue()
        await time.waitForSleepers(2)
        await second.release()
        await first.release()
        time.advance(by: .seconds(10))
        for _ in 0..<100 { await Task.yield() }
        #expect(bucket.names == [])
    }
}
