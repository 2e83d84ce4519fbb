import Checkpoints
import Checksums
import LinuxPlatform
import LocalStorage
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct CommitTests {
    @Test func onlyACommittedCheckpointIsTheLatest() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try run.uploadTrainer(200)
        #expect(try await run.latest() == nil)
        #expect(try await run.latest(LatestRule(acceptsMarked: true)) == "checkpoint-200")
        try await run.commit("checkpoint-100")
        #expect(try await run.latest() == "checkpoint-100")
        try await run.commit("checkpoint-200")
        let found = try await run.catalog().read()
        #expect(found.map(\.state) == [.complete, .complete] && found.map(\.step) == [100, 200])
        #expect(found.last?.metrics["loss"] == 0.5 && found.last?.fileCount == 5)
    }

    @Test func committingAgainChangesNothing() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        guard case .committed(let first, true) = try await run.commit("checkpoint-100") else {
            Issue.record("not committed")
            return
        }
        #expect(try await run.commit("checkpoint-100") == .committed(first, isNew: false))
    }

    @Test func whatIsNotCompleteIsNotRecorded() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        run.bucket.remove("run/checkpoint-100/model-00002-of-00002.safetensors")
        let error = await #expect(throws: CheckpointError.self) { try await run.commit("checkpoint-100") }
        #expect(error?.code == .incomplete)
        #expect(run.records == [])
        let absent = await #expect(throws: CheckpointError.self) { try await run.commit("checkpoint-300") }
        #expect(absent?.code == .notFound)
    }

    @Test func aDamagedRecordIsNeverFollowed() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try run.uploadTrainer(200)
        for name in ["checkpoint-100", "checkpoint-200"] { try await run.commit(name) }
        let record = "run/.penstock/checkpoints/checkpoint-200/record.json"
        let bytes = try #require(run.bucket.bytes(record))
        for position in stride(from: 0, to: bytes.count, by: 37) {
            var changed = bytes
            changed[position] ^= 1
            try run.bucket.plant(record, changed)
            #expect(try await run.latest() == "checkpoint-100")
        }
        try run.bucket.plant("run/.penstock/checkpoints/checkpoint-300/record.json", bytes)
        #expect(try await run.state("checkpoint-300") == .torn)
        #expect(try await run.latest() == "checkpoint-100")
    }

    /// Killed anywhere, before or after any request: the latest is the old one or the new one, and a second run finishes.
    @Test func killedAnywhereTheLatestIsTheOldOrTheNewOne() async throws {
        let deaths = try await killedAtEveryRequest { hook, step in
            let run = Run()
            try run.uploadTrainer(100)
            try await run.commit("checkpoint-100")
            try run.uploadTrainer(200)
            defer { Self.last.withLock { $0 = run } }
            try await run.commit("checkpoint-200", hook)
        } then: { _ in
            let run = try #require(Self.last.withLock { $0 })
            let latest = try await run.latest()
            #expect(latest == "checkpoint-100" || latest == "checkpoint-200")
            #expect(try await run.tornRecords() == [])
            try await run.commit("checkpoint-200")
            #expect(try await run.latest() == "checkpoint-200")
        }
        #expect(deaths > 10)
    }

    private static let last = Lock<Run?>(nil)

    @Test func aLostReplyIsFoundOutByTheOperation() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        let outcome = try await run.commit("checkpoint-100") { call in
            call.operation == .put && call.moment == .after ? .loseReply : nil
        }
        guard case .committed(_, isNew: true) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(try await run.latest() == "checkpoint-100")
    }

    @Test func aWriteThatNeverArrivedIsToldAndChangesNothing() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        let error = await #expect(throws: CheckpointError.self) {
            try await run.commit("checkpoint-100") { call in
                call.operation == .put && call.moment == .before
                    ? .fail(ObjectStoreError(.unavailable, "down", status: 503)) : nil
            }
        }
        #expect(error?.code == .retryable)
        #expect(run.records == [])
    }

    /// Two who commit at once: one succeeds, the other says so, and nothing of the winner's is touched.
    @Test func ofTwoWhoReplaceARecordOneIsTold() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try await run.commit("checkpoint-100")
        let bucket = run.bucket
        let others = Lock<ObjectAttributes?>(nil)
        let record = "run/.penstock/checkpoints/checkpoint-100/record.json"
        let bytes = try #require(bucket.bytes(record))
        try bucket.plant("run/checkpoint-100/extra.pt", [1])
        let error = await #expect(throws: CheckpointError.self) {
            try await run.commit("checkpoint-100") { call in
                if call.operation == .put, call.moment == .before {
                    let planted = try? bucket.plant(record, bytes)
                    others.withLock { $0 = planted }
                }
                return nil
            }
        }
        #expect(error?.code == .conflict)
        let standing = bucket.objects.first { $0.name.value == record }
        #expect(standing?.generation == others.withLock { $0?.generation })
    }

    @Test func aCheckpointOverwrittenInPlaceIsNotTheLatestUntilItIsCommittedAgain() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try await run.commit("checkpoint-100")
        try run.uploadTrainer(200)
        try await run.commit("checkpoint-200")
        try run.bucket.plant("run/checkpoint-200/optimizer.pt", [1, 2, 3])
        #expect(try await run.latest() == "checkpoint-100")
        #expect(try await run.state("checkpoint-200") == .torn)
        try await run.commit("checkpoint-200")
        #expect(try await run.latest() == "checkpoint-200")
    }

    @Test func namesThatAreNoFilesKeepACheckpointFromBeingCommitted() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try run.bucket.plant("run/checkpoint-100/", [])
        try await run.commit("checkpoint-100")
        try run.bucket.plant("run/checkpoint-100/../../../etc/passwd", [1])
        try run.bucket.plant("run/checkpoint-100/a//b", [1])
        let error = await #expect(throws: CheckpointError.self) { try await run.commit("checkpoint-100") }
        #expect(error?.code == .incomplete && error?.message.contains("2 objects") == true)
    }

    @Test func whatIsNoCheckpointIsNotListed() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        for name in ["runs/events.out.tfevents", "config.json", ".penstock/manifest.json", "logs/step.txt"] {
            try run.bucket.plant("run/\(name)", [1])
        }
        #expect(try await run.catalog().read().map(\.name.description) == ["checkpoint-100"])
    }

    /// Files that another tool wrote into a directory have no checksum until somebody asks.
    @Test func inADirectoryForeignFilesAreCommittedAndVerified() async throws {
        let directory = try TemporaryDirectory()
        for (path, text) in [("checkpoint-5/a.pt", "weights"), ("checkpoint-5/trainer_state.json", Run.state(5, 0.5))] {
            try DirectoryTree.make(directory.appending("checkpoint-5"))
            try DurableFile.replace(directory.appending(path), Array(text.utf8))
        }
        let store = try LocalObjectStore(directory.path, createsDirectory: false)
        let catalog = CheckpointCatalog(store, ObjectPrefix(""))
        let name = try CheckpointName("checkpoint-5")
        let request = CommitRequest(name: name, operation: .random(), created: UnixTime(seconds: 1))
        _ = try await CheckpointCommitter(catalog).commit(request)
        let found = try #require(try await catalog.read(name))
        #expect(found.state == .complete && found.step == 5)
        let report = try await CheckpointVerifier(catalog, ReadingOptions(), time: SystemTime()).verify(name)
        #expect(report.problems.isEmpty && report.verifiedFiles == 2)
        try DurableFile.replace(directory.appending("checkpoint-5/a.pt"), Array("changed".utf8))
        #expect(try await catalog.read(name)?.state == .torn)
    }
}
