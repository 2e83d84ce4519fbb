import Emulators
import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing

/// Who else may write below a prefix: nobody, or ranks of one job on other machines.
@Suite(.serialized) struct WritersTests {
    private let servers: EmulatedServers
    private let run = "run-17"

    init() throws { servers = try EmulatedServers() }

    private var place: String { "gs://\(EmulatedServers.bucket)/\(run)" }

    /// A machine of its own, as far as mounts go.
    private func mounted(_ machine: String, _ more: [String] = []) async throws -> MountedPrefix {
        let staging = servers.root.appending(path: "staging-\(machine)").path
        return try await MountedPrefix(servers, run, ["--profile", "checkpoint", "--staging-dir", staging] + more)
    }

    private func latest() async throws -> String {
        try await servers.run(["checkpoint", "latest", place, "--format", "name"]).output
    }

    private func save(_ content: Data, to path: String) throws {
        let file = try OpenedFile(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.write(content)
        try #require(fsync(file.descriptor) == 0, "fsync of \(path): errno \(errno)")
    }

    @Test func anotherWritableMountIsRefusedWhileTheFirstLives() async throws {
        let first = try await mounted("a")
        let directory = servers.root.appending(path: "second")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let staging = servers.root.appending(path: "staging-b").path
        let refused = try await servers.run([
            "mount", place, directory.path, "--profile", "checkpoint", "--staging-dir", staging,
        ])
        #expect(refused.status == 6, "\(refused)")
        #expect(
            refused.errors.contains("mount of \(place) on ") && refused.errors.contains("--writers many"),
            "\(refused)"
        )
        // Readers are no concern of it.
        try await MountedPrefix(servers, run).unmount()
        try save(Data("a".utf8), to: first.path("file"))
        try await first.unmount()
        let second = try await mounted("b")
        try save(Data("b".utf8), to: second.path("file"))
        try await second.unmount()
        #expect(try await servers.bucket.names("\(run)/") == ["\(run)/file"])
        #expect(try await servers.bucket.contents("\(run)/file") == Data("b".utf8))
    }

    /// Two ranks save a step, each its shard through a mount of its own machine; then one machine dies in the midst of the next.
    @Test func aStepOfManyRanksIsTheLatestOnlyWhenEachHasCommitted() async throws {
        var random = SeededRandom(seed: 8)
        var mounts = [try await mounted("0", ["--writers", "many"]), try await mounted("1", ["--writers", "many"])]
        func shard(_ step: Int, _ rank: Int) throws {
            let directory = mounts[rank].path("step-\(step)")
            if mkdir(directory, 0o755) != 0 { try #require(errno == EEXIST) }
            try save(Data(random.bytes(300_000)), to: directory + "/shard-\(rank).bin")
        }
        func commit(_ step: Int, _ rank: Int) async throws {
            let flushed = try await servers.run(["flush", mounts[rank].path, "--timeout", "30s"])
            try #require(flushed.status == 0, "\(flushed)")
            let ended = try await servers.run([
                "checkpoint", "commit", place, "step-\(step)", "--rank", "\(rank)", "--expect-ranks", "2",
                "--save", "job.0.\(step)", "--files", "shard-\(rank).*",
            ])
            try #require(ended.status == 0, "\(ended)")
        }
        for rank in 0..<2 { try shard(1, rank) }
        for rank in 0..<2 { try await commit(1, rank) }
        #expect(try await latest() == "step-1\n")
        // Both have synced their shards, and not one byte has reached the bucket.
        var refusal = FaultRule(.answer(.init(503)), path: "upload")
        refusal.times = nil
        let rule = servers.control.add(refusal)
        for rank in 0..<2 { try shard(2, rank) }
        try await mounts[1].kill()
        servers.control.removeRule(rule)
        try await commit(2, 0)
        #expect(try await latest() == "step-1\n")
        mounts[1] = try await mounted("1", ["--writers", "many"])
        try await commit(2, 1)
        #expect(try await latest() == "step-2\n")
        for mount in mounts { try await mount.unmount() }
    }

    /// Two machines take the same locks, each with O_EXCL.
    @Test func eachLockIsTakenByOneOfTwoMachines() async throws {
        let mounts = [try await mounted("0", ["--writers", "many"]), try await mounted("1", ["--writers", "many"])]
        let names = (0..<40).map { "lock-\($0)" }
        @Sendable func take(_ path: String) -> Int32 {
            let file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0o644)
            if file < 0 { return errno }
            close(file)
            return 0
        }
        let paths = mounts.map { mount in names.map { mount.path($0) } }
        let answers = Lock<[[Int32]]>([[], []])
        // The second begins at the end: each is first somewhere.
        for (index, own) in [paths[0], paths[1].reversed()].enumerated() {
            Thread {
                for path in own {
                    let answer = take(path)
                    answers.withLock { $0[index].append(answer) }
                }
            }.start()
        }
        #expect(try await eventually(within: .seconds(60)) { answers.withLock { $0.allSatisfy { $0.count == 40 } } })
        let (first, second) = answers.withLock { ($0[0], Array($0[1].reversed())) }
        for (index, name) in names.enumerated() {
            #expect([first[index], second[index]].sorted() == [0, EEXIST], "\(name)")
        }
        #expect(Set(first) == [0, EEXIST])
        // Whoever has lost leaves nothing, and gets the lock once its holder has let it go.
        #expect(try await servers.bucket.names("\(run)/") == names.map { "\(run)/\($0)" }.sorted())
        let (winner, loser) = first[0] == 0 ? (0, 1) : (1, 0)
        #expect(unlink(paths[winner][0]) == 0)
        #expect(try await eventually(within: .seconds(60)) { take(paths[loser][0]) == 0 })
        for mount in mounts { try await mount.unmount() }
    }
}
