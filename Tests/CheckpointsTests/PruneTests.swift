import Checkpoints
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct PruneTests {
    private func prune(
        _ run: Run,
        _ rules: RetentionRules,
        _ hook: StoreFaultHook? = nil
    ) async throws -> [CheckpointName] {
        let pruner = CheckpointPruner(run.catalog(hook), time: run.time)
        return try await pruner.carryOut(pruner.plan(rules), rules)
    }

    private func run(_ steps: [Int]) async throws -> Run {
        let run = Run()
        for step in steps {
            try run.uploadTrainer(step)
            try await run.commit("checkpoint-\(step)")
        }
        return run
    }

    private func names(_ run: Run) async throws -> [String] { try await run.catalog().read().map(\.name.description) }

    @Test func theLastAndEveryHundredthStay() async throws {
        let run = try await run([50, 100, 150, 200, 250])
        #expect(try await prune(run, RetentionRules(keepLast: 2, keepEvery: 100)) == [])
        #expect(try await names(run) == ["checkpoint-100", "checkpoint-200", "checkpoint-250"])
        #expect(
            run.records == ["checkpoint-100/record.json", "checkpoint-200/record.json", "checkpoint-250/record.json"]
        )
    }

    @Test func theOnlyCompleteOneStays() async throws {
        let run = try await run([100])
        try run.uploadTrainer(200)
        _ = try await prune(run, RetentionRules(keepLast: 1, removesIncomplete: true, grace: .zero))
        #expect(try await run.latest() == "checkpoint-100")
        let error = await #expect(throws: CheckpointError.self) { try await prune(run, RetentionRules(keepLast: 0)) }
        #expect(error?.code == .usage)
    }

    /// A run that went back to an earlier step: what was committed last is what training goes on from.
    @Test func theOneThatWasCommittedLastStaysWhateverItsStep() async throws {
        let run = try await run([900, 1000, 600])
        _ = try await prune(run, RetentionRules(keepLast: 1))
        #expect(try await names(run) == ["checkpoint-600", "checkpoint-1000"])
    }

    @Test func whatIsNotCompleteStaysUnlessItIsOldAndItsRemovalIsAskedFor() async throws {
        let run = try await run([100])
        try run.bucket.plant("run/checkpoint-50/optimizer.pt", [1])
        try run.bucket.plant("run/tmp-checkpoint-60/optimizer.pt", [1])
        run.time.advance(by: .seconds(90_000))
        try run.bucket.plant("run/checkpoint-200/optimizer.pt", [1])
        _ = try await prune(run, RetentionRules(keepLast: 1))
        #expect(try await names(run).count == 4)
        _ = try await prune(run, RetentionRules(keepLast: 1, removesIncomplete: true))
        #expect(try await names(run) == ["checkpoint-100", "checkpoint-200"])
    }

    @Test func withoutACompleteOneNothingIsRemoved() async throws {
        let run = Run()
        try run.bucket.plant("run/checkpoint-50/optimizer.pt", [1])
        run.time.advance(by: .seconds(90_000))
        _ = try await prune(run, RetentionRules(keepLast: 1, removesIncomplete: true))
        #expect(try await names(run) == ["checkpoint-50"])
    }

    @Test func filesThatWereWrittenAnewMeanwhileStay() async throws {
        let run = try await run([100, 200])
        let bucket = run.bucket
        _ = try await prune(run, RetentionRules(keepLast: 1)) { call in
            if call.operation == .delete, call.moment == .before, call.object.hasSuffix("record.json") {
                _ = try? bucket.plant("run/checkpoint-100/optimizer.pt", [7])
            }
            return nil
        }
        #expect(bucket.names.filter { $0.hasPrefix("run/checkpoint-100/") } == ["run/checkpoint-100/optimizer.pt"])
    }

    @Test func aCheckpointThatIsCommittedAnewMeanwhileStays() async throws {
        let run = try await run([100, 200])
        let bucket = run.bucket
        let record = "run/.penstock/checkpoints/checkpoint-100/record.json"
        let bytes = try #require(bucket.bytes(record))
        let spared = try await prune(run, RetentionRules(keepLast: 1)) { call in
            if call.operation == .put, call.moment == .after { _ = try? bucket.plant(record, bytes) }
            return nil
        }
        #expect(spared.map(\.description) == ["checkpoint-100"])
        #expect(try await run.state("checkpoint-100") == .complete)
        #expect(!run.records.contains("checkpoint-100/removal.json"))
    }

    @Test func whenTheOneThatStaysIsTornNothingIsRemoved() async throws {
        let run = try await run([100, 200])
        let pruner = CheckpointPruner(run.catalog(), time: run.time)
        let rules = RetentionRules(keepLast: 1)
        let plan = try await pruner.plan(rules)
        run.bucket.remove("run/checkpoint-200/optimizer.pt")
        let error = await #expect(throws: CheckpointError.self) { try await pruner.carryOut(plan, rules) }
        #expect(error?.code == .conflict)
        #expect(try await run.latest() == "checkpoint-100")
    }

    @Test func whatDeadRunsLeftBesideKeptOnesGoesWhenItIsOld() async throws {
        let run = try await run([100])
        let left = ["checkpoint-100/removal.json", "checkpoint-100/shares/job.1/0"]
        for name in left { try run.bucket.plant("run/.penstock/checkpoints/\(name)", [1]) }
        _ = try await prune(run, RetentionRules(keepLast: 1))
        #expect(run.records == ["checkpoint-100/record.json"] + left)
        run.time.advance(by: .seconds(90_000))
        _ = try await prune(run, RetentionRules(keepLast: 1))
        #expect(run.records == ["checkpoint-100/record.json"])
    }

    /// Killed anywhere: no record names files that are gone, what is half removed is never called complete, the latest is
    /// what it was, and the next run finishes.
    @Test func killedAnywhereNoRecordNamesMissingFiles() async throws {
        let rules = RetentionRules(keepLast: 1)
        let current = Lock<Run?>(nil)
        let deaths = try await killedAtEveryRequest { hook, _ in
            let run = try await run([100, 200, 300])
            current.withLock { $0 = run }
            _ = try await prune(run, rules, hook)
        } then: { step in
            let run = try #require(current.withLock { $0 })
            #expect(try await run.tornRecords() == [], "killed at \(step)")
            #expect(try await run.latest() == "checkpoint-300")
            let marked = LatestRule(acceptsMarked: true)
            for checkpoint in try await run.catalog().read() where marked.accepts(checkpoint) {
                #expect(checkpoint.objects.files.count == 5, "killed at \(step)")
            }
            _ = try await prune(run, rules)
            #expect(try await names(run) == ["checkpoint-300"])
            #expect(run.records == ["checkpoint-300/record.json"], "killed at \(step)")
        }
        #expect(deaths > 40)
    }

    /// The removal is declared between the commit's first look and its record.
    @Test func aCommitThatMeetsARemovalWithdraws() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        let bucket = run.bucket
        let error = await #expect(throws: CheckpointError.self) {
            try await run.commit("checkpoint-100") { call in
                if call.operation == .put, call.moment == .before {
                    _ = try? bucket.plant("run/.penstock/checkpoints/checkpoint-100/removal.json", [1])
                }
                return nil
            }
        }
        #expect(error?.code == .conflict)
        #expect(run.records == ["checkpoint-100/removal.json"])
    }

    @Test func aCheckpointThatIsBeingRemovedIsNotCommitted() async throws {
        let run = try await run([100, 200])
        _ = try? await prune(run, RetentionRules(keepLast: 1)) { call in
            call.operation == .delete && call.object.hasSuffix("trainer_state.json") && call.moment == .before
                ? .kill : nil
        }
        let error = await #expect(throws: CheckpointError.self) { try await run.commit("checkpoint-100") }
        #expect(error?.code == .conflict && error?.message.contains("being removed") == true)
    }
}
