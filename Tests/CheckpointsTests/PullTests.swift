import Checkpoints
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct PullTests {
    private static let name = "checkpoint-100"

    private func run() async throws -> Run {
        let run = Run()
        try run.uploadTrainer(100)
        var random = SeededRandom(seed: 9)
        try run.bucket.plant("run/checkpoint-100/nested/deep/large.pt", random.bytes(9 << 20 | 5))
        try run.bucket.plant("run/checkpoint-100/nested/none.txt", [])
        try await run.commit(Self.name)
        return run
    }

    private func pull(_ run: Run, _ directory: String, _ hook: StoreFaultHook? = nil) async throws -> PullReport {
        try await CheckpointPull(
            run.catalog(hook),
            ReadingOptions(memory: 64 << 20, maximumFiles: 2),
            time: SystemTime()
        )
        .pull(CheckpointName(Self.name), to: directory)
    }

    private func verify(_ run: Run) async throws -> CheckpointReport {
        try await CheckpointVerifier(run.catalog(), ReadingOptions(), time: SystemTime()).verify(
            CheckpointName(Self.name)
        )
    }

    private func expectPulled(_ run: Run, _ directory: String) throws {
        for object in run.bucket.objects where object.name.value.hasPrefix("run/checkpoint-100/") {
            let local = try DurableFile.read("\(directory)/\(object.name.value.dropFirst(19))", limit: 64 << 20)
            #expect(local == run.bucket.bytes(object.name.value), "\(object.name)")
        }
    }

    @Test func everyByteArrivesAndASecondPullFindsItThere() async throws {
        let run = try await run()
        let place = try TemporaryDirectory()
        let first = try await pull(run, place.appending("resume"))
        #expect(first.kept == 0 && first.fetched == first.record.totalSize)
        try expectPulled(run, place.appending("resume"))
        #expect(try await pull(run, place.appending("resume/")).fetched == 0)
        try DurableFile.replace(place.appending("resume/optimizer.pt"), [1])
        let other = await #expect(throws: CheckpointError.self) { try await pull(run, place.appending("resume")) }
        #expect(other?.code == .conflict)
    }

    /// Killed at any request the directory is not there; the next run goes on, and what arrived is not fetched again.
    @Test func killedAnywhereTheDirectoryIsAbsentAndTheNextRunGoesOn() async throws {
        let run = try await run()
        var directories: [TemporaryDirectory] = []
        let deaths = try await killedAtEveryRequest { hook, _ in
            let place = try TemporaryDirectory()
            directories = [place]
            _ = try await pull(run, place.appending("resume"), hook)
        } then: { step in
            let place = directories[0]
            let parent = try FileDescriptor(path: place.path, flags: 0)
            let isThere = try parent.entries().contains { $0.name == "resume" }
            let report = try await pull(run, place.appending("resume"))
            #expect(isThere == (report.fetched == 0), "killed at \(step)")
            try expectPulled(run, place.appending("resume"))
            #expect(try parent.entries().map(\.name) == ["resume"])
        }
        #expect(deaths > 20)
    }

    @Test func aWrongByteOnTheWayIsFetchedAgainAndOneThatStaysIsRefused() async throws {
        let run = try await run()
        let place = try TemporaryDirectory()
        let isFirst = Lock(true)
        run.bucket.onRead { name, _, bytes in
            guard name.value.hasSuffix("optimizer.pt"),
                isFirst.withLock({ first in
                    defer { first = false }
                    return first
                })
            else { return }
            bytes[0] ^= 1
        }
        _ = try await pull(run, place.appending("resume"))
        try expectPulled(run, place.appending("resume"))
        run.bucket.flipBit("run/checkpoint-100/optimizer.pt", at: 8)
        let error = await #expect(throws: CheckpointError.self) { try await pull(run, place.appending("again")) }
        #expect(error?.code == .integrity)
    }

    @Test func whatIsWrongOnTheDiskIsFetchedAgain() async throws {
        let run = try await run()
        let place = try TemporaryDirectory()
        _ = try? await pull(run, place.appending("resume")) { call in
            call.operation == .read && call.object.hasSuffix("trainer_state.json") ? .kill : nil
        }
        let large = place.appending("resume.penstock-partial/files/nested/deep/large.pt")
        let file = try FileDescriptor(path: large, flags: 1)
        try file.write([0xFF, 0xFF, 0xFF], at: 1000)
        _ = try await pull(run, place.appending("resume"))
        try expectPulled(run, place.appending("resume"))
    }

    @Test func verifyReadsEveryByte() async throws {
        let run = try await run()
        let right = try await verify(run)
        #expect(right.problems.isEmpty && right.verifiedBytes == right.record.totalSize)
        run.bucket.flipBit("run/checkpoint-100/nested/deep/large.pt", at: 8 * (9 << 20))
        let damaged = try await verify(run)
        #expect(damaged.problems.map(\.fault) == [.damaged])
        try run.bucket.plant("run/checkpoint-100/optimizer.pt", [1])
        run.bucket.remove("run/checkpoint-100/trainer_state.json")
        let faults = try await verify(run).problems.map(\.fault)
        #expect(Set(faults) == [.damaged, .replaced, .missing])
    }

    @Test func aByteThatIsWrongOnTheWayOnlyIsNoDamage() async throws {
        let run = try await run()
        let isFirst = Lock(true)
        run.bucket.onRead { name, _, bytes in
            guard name.value.hasSuffix("large.pt"),
                isFirst.withLock({ first in
                    defer { first = false }
                    return first
                })
            else { return }
            bytes[5] ^= 1
        }
        #expect(try await verify(run).problems.isEmpty)
    }

    @Test func aSharedCheckpointIsCommittedByItsLastRank() async throws {
        let run = Run()
        let save = try #require(SaveID("job-1.0.step-5"))
        for rank in 0..<3 {
            try run.bucket.plant("run/step-5/__\(rank)_0.distcp", [UInt8(rank)])
            if rank == 2 {
                try run.bucket.plant("run/step-5/.metadata", Array("__0_0.distcp __1_0.distcp __2_0.distcp".utf8))
            }
            let shared = CommitRequest.Shared(save: save, rank: rank, ranks: 3, files: Glob("__\(rank)_*"))
            let request = CommitRequest(
                name: try CheckpointName("step-5"),
                operation: .random(),
                created: run.time.timeOfDay(),
                shared: shared
            )
            let outcome = try await CheckpointCommitter(run.catalog()).commit(request)
            if rank < 2 {
                #expect(outcome == .waiting(ranks: Array((rank + 1)..<3)))
                #expect(try await run.latest() == nil)
            }
        }
        let found = try #require(try await run.catalog().read().first)
        #expect(found.state == .complete && found.standing?.record.files.compactMap(\.rank) == [0, 1, 2])
        #expect(run.records == ["step-5/record.json"])
    }

    @Test func waitingEndsWithTheCheckpointOrWithTheTime() async throws {
        let run = Run()
        try run.uploadTrainer(100)
        let time = ManualTime(advancesOnSleep: true)
        let rule = LatestRule(minimumStep: 100)
        let none = try await run.catalog().wait(for: rule, limit: .seconds(60), interval: .seconds(5), time: time)
        #expect(none == nil && time.sleeps.count == 12)
        try await run.commit(Self.name)
        let found = try await run.catalog().wait(for: rule, limit: .zero, interval: .seconds(5), time: time)
        #expect(found?.name.description == Self.name)
    }
}
