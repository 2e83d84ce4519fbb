import Checkpoints
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct RecoverTests {
    /// A committed checkpoint whose files are kept aside.
    private func keptRun() async throws -> Run {
        let run = Run()
        try run.uploadTrainer(100)
        guard case .committed(let standing, _) = try await run.commit("checkpoint-100") else { return run }
        try await KeptCopies(run.catalog()).keep(standing)
        return run
    }

    private func recover(_ run: Run, overwrites: Bool, _ hook: StoreFaultHook? = nil) async throws -> Recovery {
        try await KeptCopies(run.catalog(hook)).recover(
            CheckpointName("checkpoint-100"),
            overwrites: overwrites,
            operation: .random()
        )
    }

    private static func overwrite(_ run: Run) throws {
        try run.bucket.plant("run/checkpoint-100/optimizer.pt", [1, 2, 3])
        run.bucket.remove("run/checkpoint-100/trainer_state.json")
    }

    @Test func whatWasOverwrittenInPlaceIsBroughtBack() async throws {
        let run = try await keptRun()
        let before = run.bucket.bytes("run/checkpoint-100/optimizer.pt")
        try Self.overwrite(run)
        #expect(try await run.state("checkpoint-100") == .torn)
        #expect(try await run.catalog().read().first?.isRecoverable == true)
        let refused = await #expect(throws: CheckpointError.self) { try await recover(run, overwrites: false) }
        #expect(refused?.code == .conflict)
        #expect(run.bucket.bytes("run/checkpoint-100/optimizer.pt") == [1, 2, 3])
        let recovery = try await recover(run, overwrites: true)
        #expect(recovery.files.map(\.value) == ["checkpoint-100/optimizer.pt", "checkpoint-100/trainer_state.json"])
        #expect(run.bucket.bytes("run/checkpoint-100/optimizer.pt") == before)
        #expect(try await run.latest() == "checkpoint-100")
        #expect(run.records == ["checkpoint-100/record.json"])
    }

    @Test func theNextCommitDropsWhatWasKept() async throws {
        let run = try await keptRun()
        #expect(run.records.count == 6)
        try run.uploadTrainer(100, seed: 2)
        try await run.commit("checkpoint-100")
        #expect(run.records == ["checkpoint-100/record.json"])
    }

    /// Killed anywhere the record is true of what stands or is kept, and a second run finishes.
    @Test func killedAnywhereItIsStillRecoverable() async throws {
        let current = Lock<Run?>(nil)
        let deaths = try await killedAtEveryRequest { hook, _ in
            let run = try await keptRun()
            try Self.overwrite(run)
            current.withLock { $0 = run }
            _ = try await recover(run, overwrites: true, hook)
        } then: { step in
            let run = try #require(current.withLock { $0 })
            #expect(try await run.tornRecords() == [], "killed at \(step)")
            _ = try await recover(run, overwrites: true)
            #expect(try await run.latest() == "checkpoint-100")
        }
        #expect(deaths > 10)
    }

    @Test func keepingAsideKilledAnywhereLeavesTheCheckpointComplete() async throws {
        let current = Lock<Run?>(nil)
        try await killedAtEveryRequest { hook, _ in
            let run = Run()
            try run.uploadTrainer(100)
            let outcome = try await run.commit("checkpoint-100")
            current.withLock { $0 = run }
            guard case .committed(let standing, _) = outcome else { return }
            try await KeptCopies(run.catalog(hook)).keep(standing)
        } then: { _ in
            let run = try #require(current.withLock { $0 })
            #expect(try await run.latest() == "checkpoint-100")
        }
    }

    @Test func whatIsLostIsToldWithWhatCanStillBeDone() async throws {
        var options = MemoryBucket.Options()
        options.softDeleteRetentionSeconds = 7 * 86_400
        let run = Run(options)
        try run.uploadTrainer(100)
        try await run.commit("checkpoint-100")
        run.bucket.remove("run/checkpoint-100/optimizer.pt")
        let error = await #expect(throws: CheckpointError.self) { try await recover(run, overwrites: true) }
        #expect(error?.code == .notFound && error?.message.contains("gcloud storage restore") == true)
    }

    /// Another tool brought the same bytes back: the record follows.
    @Test func theSameBytesUnderANewGenerationAreTheSameCheckpoint() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        try await run.commit("checkpoint-100")
        let name = "run/checkpoint-100/optimizer.pt"
        try run.bucket.plant(name, try #require(run.bucket.bytes(name)))
        #expect(try await run.state("checkpoint-100") == .torn)
        #expect(try await recover(run, overwrites: false).files == [])
        #expect(try await run.state("checkpoint-100") == .complete)
    }
}
