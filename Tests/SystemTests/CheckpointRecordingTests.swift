import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// Checkpoints that a writable mount records by itself, as trainers leave them.
@Suite(.serialized) struct CheckpointRecordingTests {
    private let servers: EmulatedServers
    private let run = "run-17"

    init() throws { servers = try EmulatedServers() }

    private var place: String { "gs://\(EmulatedServers.bucket)/\(run)" }

    private func mounted(_ more: [String] = []) async throws -> MountedPrefix {
        let staging = servers.root.appending(path: "staging").path
        return try await MountedPrefix(servers, run, ["--profile", "checkpoint", "--staging-dir", staging] + more)
    }

    private func latest(_ more: String...) async throws -> EndedProgram {
        try await servers.run(["checkpoint", "latest", place, "--format", "name"] + more)
    }

    private func write(_ text: String, to path: String) throws {
        let file = try OpenedFile(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.write(Data(text.utf8))
    }

    private func state(_ step: Int) -> String { #"{"global_step":\#(step),"log_history":[{"loss":0.5}]}"# }

    /// Waits for a record as a job that resumes would.
    private func waited(_ name: String) async throws -> Int32 {
        try await servers.run(["checkpoint", "wait", place, "--name", name, "--timeout", "30s"]).status
    }

    @Test func whatATrainerHasMarkedIsRecordedAndWhatItHasNotIsNot() async throws {
        let mount = try await mounted()
        for step in [100, 200] {
            try #require(mkdir(mount.path("checkpoint-\(step)"), 0o755) == 0)
            try write("weights of \(step)", to: mount.path("checkpoint-\(step)/model.safetensors"))
        }
        try write(state(100), to: mount.path("checkpoint-100/trainer_state.json"))
        #expect(try await waited("checkpoint-100") == 0)
        #expect(try await latest().output == "checkpoint-100\n")
        // The other one lies still, whole in the bucket, and is not said to be done.
        let flushed = try await servers.run(["flush", mount.path, "--timeout", "30s"])
        #expect(flushed.status == 0, "\(flushed)")
        try await Task.sleep(for: .seconds(2))
        #expect(try await latest().output == "checkpoint-100\n")
        try write(state(200), to: mount.path("checkpoint-200/trainer_state.json"))
        // The end of the mount records what is whole then.
        try await mount.unmount()
        #expect(try await latest().output == "checkpoint-200\n")
    }

    /// Overwritten in place, file by file: the marker of the earlier save says nothing of what is there in between.
    @Test func aMixOfTwoSavesIsNeverRecorded() async throws {
        let mount = try await mounted(["--close", "published"])
        try #require(mkdir(mount.path("last"), 0o755) == 0)
        func save(_ files: [String], _ step: Int) throws {
            for file in files { try write("\(file) of \(step)", to: mount.path("last/\(file)")) }
        }
        let shards = (1...2).map { "model-0000\($0)-of-00002.safetensors" }
        try save(shards, 1)
        try write(state(1), to: mount.path("last/trainer_state.json"))
        #expect(try await waited("last") == 0)
        try save([shards[0]], 2)
        try await Task.sleep(for: .seconds(3))
        #expect(try await latest().status == 4)
        try save([shards[1]], 2)
        try write(state(2), to: mount.path("last/trainer_state.json"))
        #expect(try await waited("last") == 0)
        let listed = try await servers.run(["checkpoint", "list", place, "--json"])
        #expect(listed.output.contains("\"step\":2"), "\(listed)")
        try await mount.unmount()
    }

    @Test func aDirectoryThatGetsItsLastNameIsRecordedAndASecondMountFindsIt() async throws {
        let mount = try await mounted()
        let temporary = mount.path("7.orbax-checkpoint-tmp-1")
        try #require(mkdir(temporary, 0o755) == 0)
        try write("params", to: temporary + "/params")
        try write("{}", to: temporary + "/_METADATA")
        try #require(rename(temporary, mount.path("7")) == 0)
        #expect(try await waited("7") == 0)
        try await mount.unmount()
        let reading = try await MountedPrefix(servers, run)
        let path = try await servers.run(["checkpoint", "latest", place, "--mount", reading.path]).output
        #expect(path == reading.path("7") + "\n")
        try await reading.unmount()
    }

    /// As trainers rotate theirs.
    @Test func theRecordOfWhatATrainerRemovesGoesWithIt() async throws {
        let mount = try await mounted()
        for step in [1, 2] {
            try #require(mkdir(mount.path("checkpoint-\(step)"), 0o755) == 0)
            try write("weights", to: mount.path("checkpoint-\(step)/model.safetensors"))
            try write(state(step), to: mount.path("checkpoint-\(step)/trainer_state.json"))
            #expect(try await waited("checkpoint-\(step)") == 0)
        }
        try FileManager.default.removeItem(atPath: mount.path("checkpoint-1"))
        try await mount.unmount()
        let records = try await servers.bucket.names("\(run)/.penstock/")
        #expect(records == ["\(run)/.penstock/checkpoints/checkpoint-2/record.json"])
        #expect(try await latest().output == "checkpoint-2\n")
    }

    @Test func whoDoesNotWantItRecordsByItself() async throws {
        let mount = try await mounted(["--no-record-checkpoints"])
        try #require(mkdir(mount.path("checkpoint-1"), 0o755) == 0)
        try write("weights", to: mount.path("checkpoint-1/model.safetensors"))
        try write(state(1), to: mount.path("checkpoint-1/trainer_state.json"))
        try await mount.unmount()
        #expect(try await latest().status == 4)
        #expect(try await latest("--accept-marked").output == "checkpoint-1\n")
    }
}
