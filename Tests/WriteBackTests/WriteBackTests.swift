import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct WriteBackTests {
    @Test func aSmallFileIsPutInOneRequestAndNothingIsAskedAfterwards() async throws {
        let life = try WriteBackLife(seed: 1)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": [1, 2, 3]])
        #expect(life.store.calls.map(\.operation) == [.list, .put])
        #expect(life.mount.status.waiting.isEmpty)
        #expect(life.mount.status.staged == 0)
        #expect(try await life.contents("a") == [1, 2, 3])
    }

    @Test func aLargeFileIsUploadedWhileItIsWrittenAndComposedUnderItsLastName() async throws {
        let life = try WriteBackLife(seed: 2)
        let bytes = life.random.bytes(1000)
        let handle = try await life.create("a.tmp")
        for start in stride(from: 0, to: 1000, by: 100) {
            try await life.write(Array(bytes[start..<(start + 100)]), handle, at: start)
            for _ in 0..<20 { await life.step() }
        }
        #expect(life.bucket.uploadedBytes.received > 700)
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, "a.tmp", in: .root, to: "a", in: .root, .replace, $0) }.get()
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": bytes])
        #expect(life.leftovers.isEmpty)
        #expect(life.bucket.uploadedBytes == (1000, 0))
        #expect(life.mostUnacknowledged <= life.options.window)
        #expect(!life.store.calls.contains { $0.operation == .move || $0.operation == .copy })
    }

    /// A listing that was asked before something was published, replaced or deleted, and arrives after that.
    @Test func aListingThatIsOlderThanWhatWasDoneTakesNothingAwayAndBringsNothingBack() async throws {
        let life = try WriteBackLife(seed: 4)
        let root = NameNode(number: 0)
        for content: UInt8 in [1, 2] {
            let handle = try await life.create("a")
            try await life.write([content], handle, at: 0)
            let old = try #require(try await life.mount.listing(of: root))
            try await life.release(handle)
            try await life.drain()
            life.mount.take(old, of: root)
            #expect(try await life.contents("a") == [content])
        }
        let old = try #require(try await life.mount.listing(of: root))
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, "a", in: .root, $0) }.get()
        try await life.drain()
        #expect(life.published.isEmpty)
        life.mount.take(old, of: root)
        await #expect(throws: Errno.noEntry) { try await life.lookup("a") }
    }

    /// The process dies after each step in turn: what was acknowledged is not sent again.
    @Test func deathAfterAnyStepSendsNothingAgain() async throws {
        var (last, isOver) = (0, false)
        while !isOver {
            let life = try WriteBackLife(seed: 3)
            let bytes = life.random.bytes(700)
            let handle = try await life.create("a")
            try await life.write(bytes, handle, at: 0)
            try await life.release(handle)
            isOver = await !life.steps(last)
            try life.die()
            try await life.drain()
            #expect(life.published == ["a": bytes], "after \(last)")
            #expect(life.bucket.uploadedBytes.repeated == 0, "after \(last)")
            #expect(life.bucket.uploadedBytes.received == 700, "after \(last)")
            last += 1
        }
        #expect(last > 40)
    }
}

extension WriteBackTests {
    /// A put whose reply was lost has been done: that is found out also when the file has other bytes and another name since.
    @Test func whatWasPutInDoubtIsNotForgottenWhenTheFileGoesOn() async throws {
        let life = try WriteBackLife(seed: 4)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try await life.release(handle)
        life.weather = Weather(loss: 100)
        while life.published.isEmpty { await life.step() }
        life.weather = Weather()
        let again = try await life.create("a")
        try await life.write([4], again, at: 0)
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, "a", in: .root, to: "b", in: .root, .replace, $0) }.get()
        try await life.release(again)
        try await life.drain()
        #expect(life.published == ["b": [4]])
    }

    /// Nobody was told that it is gone, and the next process believes that it is there.
    @Test func whatTheJournalDidNotTakeIsNotDeleted() async throws {
        let life = try WriteBackLife(seed: 5)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try await life.release(handle)
        while !life.mount.status.isSettled { await life.step() }
        life.disk.set(.init(diesAtChange: life.disk.changes))
        let (mount, request) = (life.mount, life.request())
        let result = await life.call { mount.unlink(request, "a", in: .root, $0) }
        #expect(throws: Errno.self) { try result.get() }
        // The grace of what was unlinked is over by far.
        for _ in 0..<200 { await life.step() }
        #expect(life.published == ["a": [1, 2, 3]])
        try life.die()
        #expect(try await life.contents("a") == [1, 2, 3])
    }

    /// What failed for an older content has no say in when the newer one goes up.
    @Test func aFailureOfAnOlderContentDelaysNoNewerOne() async throws {
        let life = try WriteBackLife(seed: 6)
        let handle = try await life.create("a")
        try await life.write([UInt8](repeating: 1, count: 200), handle, at: 0)
        try await life.release(handle)
        func isPublishing() -> Bool {
            life.mount.core.withLock { core in core.engine.publications.values.contains { $0.publication != nil } }
        }
        while !isPublishing() { await life.step() }
        let again = try await life.create("a")
        life.store.setHook { call in
            call.operation == .compose ? .fail(ObjectStoreError(.forbidden, "not now", status: 403)) : nil
        }
        while isPublishing(), let work = life.pending.take(0) { await work() }
        life.store.setHook(nil)
        #expect(life.overlooked == 0)
        #expect(life.mount.core.withLock { $0.engine.publications.isEmpty })
        try await life.release(again)
        try await life.drain()
        #expect(life.published == ["a": []])
    }
}

@Suite struct WriteBackPropertyTests {
    private func run(
        _ seed: UInt64,
        _ weather: Weather,
        operations: Int = 60,
        deathsInCalls: Int = 0,
        deathsInSteps: Int = 0
    ) async throws -> WriteBackModel {
        let model = WriteBackModel(try WriteBackLife(seed: seed, weather))
        try await model.begin()
        (model.deathsInCalls, model.deathsInSteps) = (deathsInCalls, deathsInSteps)
        for _ in 0..<operations {
            try await model.operate()
            for _ in 0..<model.life.below(8) { try await model.step() }
        }
        try await model.finish()
        #expect(model.complaints.isEmpty, "seed \(seed)")
        return model
    }

    @Test func theBucketFollowsWhatApplicationsDo() async throws {
        for seed in SeedSlice.first(30, ofSoak: 2000) {
            let model = try await run(seed, Weather())
            #expect(model.life.leftovers.isEmpty, "seed \(seed)")
        }
    }

    @Test func inAnyWeatherTheBucketFollows() async throws {
        for seed in SeedSlice.first(30, ofSoak: 2000) {
            _ = try await run(1000 + seed, Weather(loss: 15, refusal: 10, shortening: 15, expiry: 2))
        }
    }

    /// Killed at any journal write, and after any step: each request happens once, and nothing that was answered is lost.
    @Test func killedAnywhereEachRequestHappensOnce() async throws {
        var deaths = 0
        for seed in SeedSlice.first(60, ofSoak: 4000) {
            let weather = Weather(loss: 8, refusal: 5, shortening: 8)
            deaths += try await run(2000 + seed, weather, deathsInCalls: 15, deathsInSteps: 2).life.deaths
        }
        #expect(deaths > 300)
    }
}
