import Emulators
import Foundation
import TestSupport
import Testing

/// `penstock checkpoint`, as a trainer's script and a Job run it, on checkpoints that another tool has uploaded.
@Suite struct CheckpointTests {
    private let servers: EmulatedServers
    private let run = "run-17"

    init() throws { servers = try EmulatedServers() }

    private var place: String { "gs://\(EmulatedServers.bucket)/\(run)" }

    private func checkpoint(_ command: String, _ more: String...) async throws -> EndedProgram {
        try await servers.run(["checkpoint", command, place] + more)
    }

    private func content(_ name: String, _ step: Int) -> Data {
        var random = SeededRandom(seed: UInt64(step) &+ UInt64(name.utf8.count))
        return Data(random.bytes(200_000))
    }

    /// What HF Trainer leaves, its state last.
    private func upload(_ step: Int, isDone: Bool = true) async throws {
        let directory = "\(run)/checkpoint-\(step)"
        for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "optimizer.pt"] {
            try await servers.bucket.put("\(directory)/\(name)", content(name, step))
        }
        guard isDone else { return }
        let state = #"{"global_step":\#(step),"log_history":[{"loss":0.\#(step)},{"loss":NaN}]}"#
        try await servers.bucket.put("\(directory)/trainer_state.json", Data(state.utf8))
    }

    @Test func theLatestIsTheOneThatWasCommittedAndNoOther() async throws {
        try await upload(100)
        try await upload(200)
        try await upload(300, isDone: false)
        #expect(try await checkpoint("latest").status == 4)
        let marked = try await checkpoint("latest", "--accept-marked")
        #expect(marked.status == 0 && marked.output == "\(place)/checkpoint-200\n", "\(marked)")
        #expect(try await checkpoint("commit", "checkpoint-100").status == 0)
        let latest = try await checkpoint("latest")
        #expect(latest.status == 0 && latest.output == "\(place)/checkpoint-100\n", "\(latest)")
        #expect(latest.errors.contains("checkpoint-200 is marked"), "\(latest)")
        #expect(try await checkpoint("commit", "checkpoint-200").status == 0)
        #expect(try await checkpoint("latest", "--mount", "/ckpt/").output == "/ckpt/checkpoint-200\n")
        #expect(try await checkpoint("wait", "--step", "150", "--format", "step").output == "200\n")
        #expect(try await checkpoint("wait", "--step", "900", "--timeout", "0s").status == 6)
    }

    @Test func theListSaysWhatStateEachOneIsInAndWhy() async throws {
        struct Line: Decodable {
            var name: String
            var state: String
            var step: Int?
            var metrics: [String: Double]
            var reasons: [String]
        }
        try await upload(100)
        try await upload(200)
        try await upload(300, isDone: false)
        try await servers.bucket.delete("\(run)/checkpoint-300/model-00002-of-00002.safetensors")
        for step in [100, 200] { #expect(try await checkpoint("commit", "checkpoint-\(step)").status == 0) }
        try await servers.bucket.put("\(run)/checkpoint-200/optimizer.pt", Data([1]))
        let list = try await checkpoint("list", "--json")
        let lines = try list.output.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        #expect(lines.map(\.state) == ["complete", "torn", "incomplete"], "\(list)")
        #expect(lines.map(\.step) == [100, 200, 300] && lines[0].metrics["loss"] == 0.1)
        #expect(lines[1].reasons.first?.contains("optimizer.pt") == true)
        #expect(lines[2].reasons.first?.contains("missing") == true)
        let table = try await checkpoint("list")
        #expect(table.output.contains("checkpoint-200  200   torn"), "\(table)")
    }

    @Test func pulledBytesAreTheBucketsAndDamageEndsWith3() async throws {
        try await upload(100)
        #expect(try await checkpoint("commit", "checkpoint-100").status == 0)
        #expect(try await checkpoint("verify").status == 0)
        let local = servers.root.appending(path: "resume")
        let pulled = try await checkpoint("pull", "checkpoint-100", local.path)
        #expect(pulled.status == 0, "\(pulled)")
        let name = "model-00001-of-00002.safetensors"
        #expect(try Data(contentsOf: local.appending(path: name)) == content(name, 100))
        #expect(try await checkpoint("pull", "checkpoint-100", local.path).status == 0)
        try await servers.bucket.put("\(run)/checkpoint-100/\(name)", content(name, 101))
        let verified = try await checkpoint("verify", "checkpoint-100")
        #expect(verified.status == 3 && verified.output.contains("replaced"), "\(verified)")
        #expect(try await checkpoint("latest").status == 4)
    }

    /// A writer that overwrites in place dies in the middle: what was committed comes back.
    @Test func whatIsKeptAsideComesBackAfterAnOverwrite() async throws {
        try await upload(100)
        #expect(try await checkpoint("commit", "checkpoint-100", "--keep-aside").status == 0)
        try await servers.bucket.put("\(run)/checkpoint-100/optimizer.pt", Data([1]))
        #expect(try await checkpoint("latest").status == 4)
        #expect(try await checkpoint("recover", "checkpoint-100").status == 2)
        let recovered = try await checkpoint("recover", "checkpoint-100", "--overwrite")
        #expect(recovered.status == 0, "\(recovered)")
        #expect(try await checkpoint("latest").status == 0)
        #expect(try await checkpoint("verify", "checkpoint-100").status == 0)
    }

    @Test func ofManyRanksTheLastOneCommits() async throws {
        try await upload(100)
        let shared = ["commit", place, "checkpoint-100", "--expect-ranks", "3", "--save", "job.0.100"]
        for rank in 0..<2 {
            let waiting = try await servers.run(["checkpoint"] + shared + ["--rank", "\(rank)", "--json"])
            #expect(waiting.status == 0 && waiting.output.contains("\"missing_ranks\":["), "\(waiting)")
            #expect(try await checkpoint("latest").status == 4)
        }
        let last = try await servers.run(["checkpoint"] + shared + ["--rank", "2", "--json"])
        #expect(last.status == 0 && last.output.contains("\"event\":\"committed\""), "\(last)")
        #expect(try await checkpoint("latest").status == 0)
    }

    /// All of a number of ranks at once, against the store's own preconditions.
    @Test func ranksThatCommitAtOnceMakeOneRecord() async throws {
        try await upload(100)
        let place = place
        let servers = servers
        let statuses = try await withThrowingTaskGroup(of: EndedProgram.self) { group in
            for rank in 0..<4 {
                group.addTask {
                    try await servers.run([
                        "checkpoint", "commit", place, "checkpoint-100", "--rank", "\(rank)", "--expect-ranks", "4",
                        "--save", "job.0.100",
                    ])
                }
            }
            return try await group.reduce(into: [EndedProgram]()) { $0.append($1) }
        }
        #expect(statuses.allSatisfy { $0.status == 0 }, "\(statuses)")
        #expect(try await checkpoint("latest").output == "\(place)/checkpoint-100\n")
        #expect(
            try await servers.bucket.names("\(run)/.penstock/") == [
                "\(run)/.penstock/checkpoints/checkpoint-100/record.json"
            ]
        )
    }

    /// The program is killed while a request that changes the bucket hangs, before or after it took effect.
    @Test func aPruneThatIsKilledLeavesNoRecordOfMissingFiles() async throws {
        for (number, step) in [(1, false), (1, true), (3, false), (4, true)].enumerated() {
            for checkpoint in [100, 200] {
                try await upload(checkpoint)
                #expect(try await self.checkpoint("commit", "checkpoint-\(checkpoint)").status == 0)
            }
            let wire = try servers.tripWire(.delete, nth: step.0, carriedOut: step.1)
            let killed = try await servers.start(["checkpoint", "prune", place, "--keep-last", "1"]).killed {
                wire.isTripped
            }
            wire.disarm()
            try #require(killed)
            let list = try await checkpoint("list", "--json")
            #expect(!list.output.contains("\"torn\""), "\(number): \(list)")
            #expect(try await checkpoint("latest", "--format", "name").output == "checkpoint-200\n")
            #expect(try await checkpoint("prune", "--keep-last", "1").status == 0)
            #expect(try await servers.bucket.names("\(run)/checkpoint-100/") == [])
            try await servers.bucket.deleteAll("\(run)/")
        }
    }
}
