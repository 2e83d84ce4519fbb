import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import TestSupport
import Testing

/// Large files into a bucket that keeps what is deleted: their parts are no objects.
struct MultipartConveyanceTests {
    private static func bench() -> Bench {
        var options = MemoryBucket.Options()
        options.softDeleteRetentionSeconds = 604_800
        return Bench(options)
    }

    /// Buffers of 8 MiB.
    private static func options() -> ConveyorOptions { ConveyorOptions(memory: 64 << 20) }

    private static func files(_ seed: UInt64) -> [String: [UInt8]] {
        var random = SeededRandom(seed: seed)
        return ["model.safetensors": random.bytes((24 << 20) + 12_345), "config.json": random.bytes(612)]
    }

    private static func convey(
        _ bench: Bench,
        _ source: MemorySource,
        _ faults: StoreFaultHook? = nil
    ) async throws -> [StoreCall] {
        let store = bench.store(faults)
        _ = try await bench.conveyor(store, options()).convey(source)
        return store.calls
    }

    private static func proveWhole(_ bench: Bench, _ note: String = "") async throws {
        let report = try await bench.verify(options())
        #expect(report.problems.isEmpty && report.unlisted.isEmpty, "\(note): \(report.problems)")
        #expect(try await bench.leftovers() == [], "\(note)")
        #expect(bench.bucket.unfinishedUploads.multiparts == 0, "\(note)")
    }

    @Test func noPartIsEverAnObject() async throws {
        let bench = Self.bench()
        let contents = Self.files(1)
        let calls = try await Self.convey(bench, try MemorySource(contents))
        #expect(calls.count { $0.operation == .putPart } == 4)
        #expect(!calls.contains { $0.operation == .compose || $0.object.contains("/parts/") })
        #expect(try await bench.contents("model.safetensors") == contents["model.safetensors"])
        let published = try #require(bench.bucket.objects.first { $0.name.value.hasSuffix("model.safetensors") })
        let digest = SHA256Digest.of(try #require(contents["model.safetensors"]))
        #expect(published.metadata[MetadataKey.sha256] == digest.description)
        try await Self.proveWhole(bench)
    }

    /// Killed before and after every request in turn; what the two runs fetch more than once fits the buffers.
    @Test func everyKillIsSurvived() async throws {
        let contents = Self.files(2)
        let total = contents.values.reduce(0) { $0 + $1.count }
        var step = 0
        var kills = 0
        while true {
            let bench = Self.bench()
            let first = try MemorySource(contents)
            var wasKilled = false
            do {
                _ = try await Self.convey(bench, first, StoreFault.killing(atStep: step))
            } catch {
                wasKilled = true
            }
            if !wasKilled { break }
            bench.time.advance(by: .seconds(120))
            let second = try MemorySource(contents)
            _ = try await Self.convey(bench, second)
            try await Self.proveWhole(bench, "step \(step)")
            #expect(first.fetchedBytes + second.fetchedBytes <= total + (64 << 20), "step \(step)")
            kills += 1
            step += KillTests.stride
        }
        #expect(kills > 10)
    }

    @Test func aLaterRunFetchesOnlyWhatNoStateCovers() async throws {
        let bench = Self.bench()
        var random = SeededRandom(seed: 3)
        let contents = ["model.safetensors": random.bytes(160 << 20)]
        let first = try MemorySource(contents)
        // When it dies: its reads go on here, as a dead process's do not.
        let fetched = Lock(0)
        let died = try? await Self.convey(bench, first) { call in
            guard call.operation == .putPart, call.moment == .before, first.fetchedBytes > 120 << 20 else { return nil }
            fetched.withLock { if $0 == 0 { $0 = first.fetchedBytes } }
            return .kill
        }
        #expect(died == nil)
        bench.time.advance(by: .seconds(120))
        let second = try MemorySource(contents)
        let calls = try await Self.convey(bench, second)
        // At most the buffers of the run that died were not covered.
        #expect(second.fetchedBytes <= (160 << 20) - fetched.withLock(\.self) + (64 << 20))
        #expect(!calls.contains { $0.operation == .beginMultipart })
        try await Self.proveWhole(bench)
    }

    @Test func aPartThatNeverArrivedIsFetchedAgainWithoutTheHash() async throws {
        let bench = Self.bench()
        let contents = Self.files(4)
        // The first part fails for good while the hash goes on: what the states cover is more than what is stored.
        let refusal = ObjectStoreError(.unavailable, "the test refuses this part")
        let count = Lock(0)
        let died = try? await Self.convey(bench, try MemorySource(contents)) { call in
            guard call.operation == .putPart, call.moment == .before else { return nil }
            let number = count.withLock { count in
                count += 1
                return count
            }
            return number == 2 ? .fail(refusal) : nil
        }
        #expect(died == nil)
        _ = try await Self.convey(bench, try MemorySource(contents))
        try await Self.proveWhole(bench)
    }

    @Test func aDamagedPartIsSentAgainAndNotFetchedAgain() async throws {
        let bench = Self.bench()
        let contents = Self.files(5)
        let source = try MemorySource(contents)
        let damaged = ObjectStoreError(.integrity, "other bytes arrived than were sent")
        let refused = Lock(0)
        _ = try await Self.convey(bench, source) { call in
            guard call.operation == .putPart || call.operation == .put, call.moment == .before else { return nil }
            guard call.object.contains("/staged/") else { return nil }
            let isFirst = refused.withLock { count in
                count += 1
                return count % 2 == 1
            }
            return isFirst ? .fail(damaged) : nil
        }
        #expect(refused.withLock(\.self) >= 4)
        #expect(source.fetchedBytes == contents.values.reduce(0) { $0 + $1.count })
        try await Self.proveWhole(bench)
    }

    @Test func anUploadThatTheStoreForgotIsBegunAnew() async throws {
        let bench = Self.bench()
        let contents = Self.files(6)
        let died = try? await Self.convey(bench, try MemorySource(contents)) { call in
            call.operation == .completeMultipart && call.moment == .before ? .kill : nil
        }
        #expect(died == nil)
        bench.bucket.expireUploads()
        bench.time.advance(by: .seconds(120))
        _ = try await Self.convey(bench, try MemorySource(contents))
        try await Self.proveWhole(bench)
    }

    @Test func aStateThatWasChangedIsNotBelieved() async throws {
        let bench = Self.bench()
        let contents = Self.files(7)
        let died = try? await Self.convey(bench, try MemorySource(contents)) { call in
            call.operation == .completeMultipart && call.moment == .before ? .kill : nil
        }
        #expect(died == nil)
        let states = bench.bucket.names.filter { $0.contains("/state/") }
        #expect(!states.isEmpty)
        for (index, state) in states.enumerated() { #expect(bench.bucket.flipBit(state, at: 999 + index)) }
        bench.time.advance(by: .seconds(120))
        _ = try await Self.convey(bench, try MemorySource(contents))
        try await Self.proveWhole(bench)
    }

    @Test func aStoreWithoutMultipartUploadsGetsComponents() async throws {
        let bench = Self.bench()
        let contents = Self.files(8)
        let calls = try await Self.convey(bench, try MemorySource(contents)) { call in
            guard [.beginMultipart, .multipartUploads].contains(call.operation) else { return nil }
            return .fail(ObjectStoreError(.unsupported, "no such thing here", status: 501))
        }
        #expect(calls.contains { $0.operation == .compose })
        try await Self.proveWhole(bench)
    }

    @Test func aBucketThatForbidsDeletingIsRefusedBeforeAnythingIsWritten() async throws {
        var options = MemoryBucket.Options()
        options.retentionSeconds = 3600
        let bench = Bench(options)
        let error = await #expect(throws: SnapshotError.self) {
            try await Self.convey(bench, try MemorySource(Self.files(9)))
        }
        #expect(error?.code == .usage && error?.message.contains("retention policy") == true)
        #expect(bench.bucket.names.isEmpty)
    }
}
