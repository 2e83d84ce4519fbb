import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// `penstock mount --profile checkpoint`, from the system call to the bucket, through deaths of its processes.
@Suite(.serialized) struct WriteBackMountTests {
    private let servers: EmulatedServers

    init() throws { servers = try EmulatedServers() }

    private var staging: String { servers.root.appending(path: "staging").path }

    private func mounted(_ more: [String] = [], memory: String = "16M") async throws -> MountedPrefix {
        let options = ["--profile", "checkpoint", "--staging-dir", staging] + more
        return try await MountedPrefix(servers, "run", options, memory: memory)
    }

    /// What the bucket has under names of ours.
    private func stored() async throws -> [String: Data] {
        var stored: [String: Data] = [:]
        for name in try await servers.bucket.names("run/") where !name.contains("/.penstock/") {
            stored[String(name.dropFirst(4))] = try await servers.bucket.contents(name)
        }
        return stored
    }

    /// Names that are not the same on both sides, and how.
    private func differences(_ found: [String: Data], _ expected: [String: Data]) -> [String] {
        Set(found.keys).union(expected.keys).sorted().compactMap { name in
            if found[name] == expected[name] { return nil }
            return "\(name): \(found[name]?.count ?? -1) and not \(expected[name]?.count ?? -1) bytes"
        }
    }

    private func bytes(_ seed: UInt64, _ count: Int) -> Data {
        var random = SeededRandom(seed: seed)
        return Data(random.bytes(count))
    }

    /// write(2), fsync(2), close(2), as a trainer does.
    private func write(_ content: Data, to path: String) throws {
        let file = try OpenedFile(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.write(content)
        try #require(fsync(file.descriptor) == 0, "fsync of \(path): errno \(errno)")
    }

    @Test func whatIsWrittenStandsInTheBucketAfterTheMountHasEnded() async throws {
        let mount = try await mounted()
        let files = FileManager.default
        try files.createDirectory(atPath: mount.path("tmp-checkpoint-1/state"), withIntermediateDirectories: true)
        let weights = bytes(1, (40 << 20) + 12_345)
        try write(weights, to: mount.path("tmp-checkpoint-1/model.safetensors"))
        try write(Data("first".utf8), to: mount.path("tmp-checkpoint-1/state/rng"))
        #expect(rename(mount.path("tmp-checkpoint-1"), mount.path("checkpoint-1")) == 0)
        try write(Data("second".utf8), to: mount.path("checkpoint-1/state/rng"))
        try write(Data("gone".utf8), to: mount.path("notes"))
        #expect(unlink(mount.path("notes")) == 0)
        let expected = ["checkpoint-1/model.safetensors": weights, "checkpoint-1/state/rng": Data("second".utf8)]
        #expect(try mount.contents() == expected)
        let ended = try await mount.unmount()
        #expect(ended.errors.contains("everything that was written is in the bucket"))
        #expect(try await stored() == expected)
        // Held back until its directory had its name: nothing was ever visible under the other.
        #expect(!servers.control.log.contains { $0.method == "POST" && $0.target.contains("tmp-checkpoint-1%2Fmodel") })
        let leftovers = try await servers.bucket.names("run/.penstock/")
        // A file was written anew after the directory had got its last name: of the same save, or of the next?
        #expect(leftovers == [])
        let reading = try await MountedPrefix(servers, "run")
        #expect(try reading.contents() == expected)
        try await reading.unmount()
    }

    /// Nothing reaches the bucket before every process of the mount is killed.
    @Test func whatWasSyncedOutlivesEveryProcess() async throws {
        var refusal = FaultRule(.answer(.init(503)), path: "upload")
        refusal.times = nil
        let rule = servers.control.add(refusal)
        let mount = try await mounted()
        var expected: [String: Data] = [:]
        for index in 0..<5 {
            expected["file-\(index)"] = bytes(UInt64(index), 1 << (10 + 3 * index))
            try write(expected["file-\(index)"] ?? Data(), to: mount.path("file-\(index)"))
        }
        try await mount.kill()
        #expect(try await stored().isEmpty)
        servers.control.removeRule(rule)
        let next = try await mounted()
        #expect(try next.contents() == expected)
        try await next.unmount()
        #expect(try await stored() == expected)
    }

    /// A save as most trainers do it, again and again, while the process that serves is killed. 100 kills in a soak.
    @Test func killedAgainAndAgainNoWriterNotices() async throws {
        let mount = try await mounted()
        let processes = KeptProcesses(keeper: mount.processID)
        let kills = TestRun.isSoak ? 100 : 8
        var random = TestRun.random(31)
        var expected: [String: Data] = [:]
        var seen: Set<Int32> = []
        for number in 0..<kills {
            let worker = try #require(try await processes.next(after: seen))
            seen.insert(worker)
            let delay = Duration.milliseconds(Int.random(in: 0...60, using: &random))
            let killer = Task {
                try await Task.sleep(for: delay)
                kill(worker, SIGKILL)
            }
            for step in 0..<6 {
                let name = "checkpoint-\(number)-\(step)"
                let content = bytes(UInt64(number * 10 + step), Int.random(in: 0...3_000_000, using: &random))
                try write(content, to: mount.path(name + ".tmp"))
                try #require(rename(mount.path(name + ".tmp"), mount.path(name)) == 0, "errno \(errno)")
                expected[name] = content
                if step == 3, let old = expected.keys.sorted().first {
                    try #require(unlink(mount.path(old)) == 0, "unlink of \(old): errno \(errno)")
                    expected[old] = nil
                }
            }
            try await killer.value
        }
        #expect(differences(try mount.contents(), expected).isEmpty)
        let flushed = try await servers.run(["flush", mount.path, "--timeout", "60s"])
        #expect(flushed.status == 0, "\(flushed)")
        // What was unlinked stays in the bucket for a grace, which ends with the mount.
        #expect(differences(try await stored().filter { expected[$0.key] != nil }, expected).isEmpty)
        try await mount.unmount()
        #expect(differences(try await stored(), expected).isEmpty)
    }

    /// A job that goes on from its last checkpoint reads it through the mount that it writes to.
    @Test func whatIsReadBackComesAheadAndOnce() async throws {
        let weights = bytes(9, 96 << 20)
        try await servers.bucket.put("run/step-1/model.safetensors", weights)
        let mount = try await mounted(memory: "128M")
        #expect(try Data(contentsOf: URL(filePath: mount.path("step-1/model.safetensors"))) == weights)
        let requests = servers.control.log.filter {
            $0.method == "GET" && $0.target.contains("model.safetensors") && $0.target.contains("alt=media")
        }
        // Of some MiB each; a read of the kernel has 1 MiB at most.
        #expect((12...48).contains(requests.count), "\(requests.count) requests")
        // What was read is not what is written over it.
        try write(Data("new".utf8), to: mount.path("step-1/model.safetensors"))
        #expect(try Data(contentsOf: URL(filePath: mount.path("step-1/model.safetensors"))) == Data("new".utf8))
        try await mount.unmount()
        #expect(try await stored() == ["step-1/model.safetensors": Data("new".utf8)])
    }

    @Test func whatCannotBeDrainedIsReportedAndGoneOnWith() async throws {
        var refusal = FaultRule(.answer(.init(503)), path: "upload")
        refusal.times = nil
        let rule = servers.control.add(refusal)
        let mount = try await mounted(["--drain-timeout", "1s"])
        try write(Data("kept".utf8), to: mount.path("file"))
        let flushed = try await servers.run(["flush", mount.path, "--timeout", "1s"])
        #expect(flushed.status == 7, "\(flushed)")
        #expect(flushed.errors.contains("1 files wait"))
        let ended = try await mount.unmount(expecting: 7)
        #expect(ended.errors.contains("not everything is in the bucket"), "\(ended)")
        servers.control.removeRule(rule)
        try await mounted().unmount()
        #expect(try await stored() == ["file": Data("kept".utf8)])
    }

    /// As service managers do it: umount(8), and SIGTERM while it drains.
    @Test func aSignalAfterAnUnmountLetsItDrain() async throws {
        var refusal = FaultRule(.answer(.init(503)), path: "upload")
        refusal.times = nil
        let rule = servers.control.add(refusal)
        let mount = try await mounted(["--drain-timeout", "60s"])
        try write(Data("kept".utf8), to: mount.path("file"))
        #expect(umount2(mount.path, 0) == 0, "errno \(errno)")
        kill(try #require(KeptProcesses(keeper: mount.processID).worker), SIGTERM)
        servers.control.removeRule(rule)
        let ended = try await mount.ended()
        #expect(ended.status == 0, "\(ended)")
        #expect(try await stored() == ["file": Data("kept".utf8)])
    }

    @Test func aStagingDirectoryBelongsToOneMount() async throws {
        let mount = try await mounted()
        let second = servers.root.appending(path: "second")
        try FileManager.default.createDirectory(at: second, withIntermediateDirectories: true)
        let more = ["--profile", "checkpoint", "--staging-dir", staging]
        let refused = try await servers.run(["mount", "gs://\(EmulatedServers.bucket)/run", second.path] + more)
        #expect(refused.status == 6, "\(refused)")
        #expect(refused.errors.contains("in use"))
        try await mount.unmount()
        // What is staged for one prefix must not be published below another.
        let foreign = try await servers.run(["mount", "gs://\(EmulatedServers.bucket)/other", second.path] + more)
        #expect(foreign.status == 2, "\(foreign)")
        #expect(foreign.errors.contains("belongs to gs://\(EmulatedServers.bucket)/run"))
    }

    @Test func closeAndSyncWaitForTheBucketWhereTheyAreToldTo() async throws {
        let closing = try await mounted(["--close", "published"])
        try Data("closed".utf8).write(to: URL(filePath: closing.path("closed")))
        #expect(try await stored() == ["closed": Data("closed".utf8)])
        try await closing.unmount()
        let syncing = try await mounted(["--durability", "published"])
        let file = try OpenedFile(syncing.path("synced"), O_WRONLY | O_CREAT, mode: 0o644)
        try file.write(Data("synced".utf8))
        #expect(fsync(file.descriptor) == 0)
        #expect(try await stored()["synced"] == Data("synced".utf8))
        withExtendedLifetime(file) {}
    }

    /// A directory that stands in a bucket with folders gets another name by one request, whatever is in it.
    @Test func aPublishedDirectoryOfAHierarchicalBucketIsRenamedAtOnce() async throws {
        try await servers.bucket.becomeHierarchical()
        let mount = try await mounted()
        try FileManager.default.createDirectory(atPath: mount.path("a/sub"), withIntermediateDirectories: true)
        var expected: [String: Data] = [:]
        for number in 0..<20 {
            let name = number < 10 ? "\(number)" : "sub/\(number)"
            let content = bytes(UInt64(number), 1000 + number)
            try write(content, to: mount.path("a/\(name)"))
            expected["b/\(name)"] = content
        }
        func flush() async throws {
            let flushed = try await servers.run(["flush", mount.path, "--timeout", "60s"])
            try #require(flushed.status == 0, "\(flushed)")
        }
        try await flush()
        #expect(try await stored().keys.allSatisfy { $0.hasPrefix("a/") })
        servers.control.reset()
        #expect(rename(mount.path("a"), mount.path("b")) == 0)
        try await flush()
        #expect(try await stored() == expected)
        #expect(servers.control.log.count { $0.target.contains("/renameTo/folders/") } == 1)
        #expect(!servers.control.log.contains { $0.target.contains("/moveTo/") || $0.target.contains("/rewriteTo/") })
        #expect(try mount.contents() == expected)
        try await mount.unmount()
    }
}
