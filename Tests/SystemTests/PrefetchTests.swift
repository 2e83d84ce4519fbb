import Emulators
import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing

/// `penstock prefetch`, `status` and `probe` against real mounts of an emulated bucket that counts what is asked of it.
@Suite(.serialized) struct PrefetchTests {
    private let servers: EmulatedServers
    private let home: TemporaryDirectory
    private var runtime: String { home.appending("run") }
    private var environment: [String: String] { ["PENSTOCK_RUNTIME_DIR": runtime] }

    private static func weights(_ seed: UInt64, _ mebibytes: Int) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes((mebibytes << 20) + 4321)
    }

    init() async throws {
        servers = try EmulatedServers()
        home = try TemporaryDirectory()
        let model = servers.directory(of: "acme/tiny")
        try FileManager.default.createDirectory(at: model, withIntermediateDirectories: true)
        for (name, bytes) in [
            ("config.json", Array("{}".utf8)), ("model-1.safetensors", Self.weights(1, 9)),
            ("model-2.safetensors", Self.weights(2, 5)), ("other.bin", Self.weights(3, 12)),
            ("onnx/model.onnx", Self.weights(4, 1)),
        ] {
            let folder = model.appending(path: name).deletingLastPathComponent()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(bytes).write(to: model.appending(path: name))
        }
        let ended = try await servers.run(["snapshot", "acme/tiny", "gs://\(EmulatedServers.bucket)/tiny", "--quiet"])
        try #require(ended.status == 0, "\(ended)")
    }

    /// Mounts, and waits for the line that says so.
    private func mounted(_ more: [String] = []) async throws -> (program: RunningProgram, path: String) {
        let path = home.appending("mnt-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let arguments = ["mount", "gs://\(EmulatedServers.bucket)/tiny", path, "--memory", "32M"] + more
        let program = try servers.start(arguments, environment: environment)
        let isReady = try await eventually(within: .seconds(60)) {
            !program.printed.output.isEmpty || !program.isRunning
        }
        try #require(isReady && program.isRunning, "\(program.printed)")
        return (program, path)
    }

    private func ended(_ mount: (program: RunningProgram, path: String)) async throws {
        mount.program.send(SIGTERM)
        let ended = try await mount.program.ended()
        #expect(ended.status == 0, "\(ended)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: runtime).filter { $0.hasSuffix(".sock") } == [])
    }

    private func run(_ arguments: [String]) async throws -> EndedProgram {
        try await servers.run(arguments, environment: environment)
    }

    /// Requests for bytes of objects, since the last reset.
    private var mediaRequests: Int {
        servers.control.log.filter { $0.server == "gcs" && $0.method == "GET" && $0.target.contains("alt=media") }.count
    }

    /// Those that were no records of Penstock's own.
    private var contentRequests: Int {
        servers.control.log.filter {
            $0.server == "gcs" && $0.method == "GET" && $0.target.contains("alt=media")
                && !$0.target.contains(".penstock")
        }.count
    }

    @Test func whatWasPrefetchedIsReadWithoutTheBucketAndByTheKernel() async throws {
        let mount = try await mounted(["--cache-dir", home.appending("cache"), "--cache-free", "0"])
        let waited = try await run(["prefetch", mount.path, "--wait"])
        #expect(waited.status == 0, "\(waited)")
        #expect(waited.output.hasPrefix("verified and resident: 5 files, "), "\(waited)")
        servers.control.reset()
        let file = try OpenedFile(mount.path + "/model-1.safetensors")
        if isPassthroughPossible {
            #expect(try penstockAttribute("passthrough", mount.path + "/model-1.safetensors") == "yes")
        }
        let expected = Self.weights(1, 9)
        #expect(isSame(try file.read(at: 0, expected.count), expected[...]))
        #expect(try OpenedFile(mount.path + "/config.json").read(at: 0, 10) == Array("{}".utf8))
        #expect(mediaRequests == 0)
        let status = try await run(["status", "--json", mount.path])
        #expect(
            status.output.contains("\"verified\":true") && !status.output.contains("\"verified\":false"),
            "\(status)"
        )
        let text = try await run(["status"])
        #expect(text.output.hasPrefix("\(mount.path)  gs://ai-models/tiny  acme/tiny@"), "\(text)")
        try await ended(mount)
    }

    @Test func aPinnedModelStaysWhateverElseIsReadAlsoAfterARestart() async throws {
        let cache = ["--cache-dir", home.appending("cache"), "--cache-free", "0", "--cache-size", "64M"]
        let first = try await mounted(cache)
        let pinned = try await run(["prefetch", first.path + "/model-*.safetensors", "--pin", "--wait"])
        #expect(pinned.status == 0 && pinned.output.contains("pinned: 2 files"), "\(pinned)")
        try await ended(first)
        // A larger set than the cache, by another mount of the same directory, read twice over.
        let scanned = MountAreaOfFiles(home.appending("objects"))
        try await scanned.publish((0..<8).map { ("f\($0)", Self.weights(UInt64(100 + $0), 11)) })
        let second = try await mounted(cache)
        let area = home.appending("scan")
        try FileManager.default.createDirectory(atPath: area, withIntermediateDirectories: true)
        let other = try ServedMount("file://" + home.appending("objects"), at: area, cache + ["--memory", "32M"])
        for _ in 0..<2 {
            for number in 0..<8 {
                let file = try OpenedFile("\(area)/f\(number)")
                posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
                _ = try file.read(at: 0, 12 << 20)
            }
        }
        other.end()
        servers.control.reset()
        for (name, seed, size) in [("model-1.safetensors", UInt64(1), 9), ("model-2.safetensors", 2, 5)] {
            let expected = Self.weights(seed, size)
            #expect(isSame(try OpenedFile("\(second.path)/\(name)").read(at: 0, expected.count), expected[...]))
        }
        #expect(contentRequests == 0)
        let more = try await run(["prefetch", second.path + "/other.bin", "--pin", "--wait"])
        #expect(more.status == 0, "\(more)")
        let unpinned = try await run(["prefetch", second.path, "--unpin"])
        #expect(unpinned.status == 0, "\(unpinned)")
        let status = try await run(["status", "--json", second.path])
        #expect(!status.output.contains("\"pinned\":true"), "\(status)")
        try await ended(second)
    }

    @Test func readyMeansThatWhatWasAskedForIsThere() async throws {
        // Each of its requests, also those that are made instead of one that hangs.
        var rule = FaultRule(.sending { ($0.stallAt, $0.stall) = (0, .seconds(3600)) }, method: "GET")
        rule.pattern = PathPattern("model-2.*alt=media")
        rule.times = nil
        let hanging = servers.control.add(rule)
        let mount = try await mounted([
            "--cache-dir", home.appending("cache"), "--cache-free", "0", "--prefetch", "*.safetensors",
            "--fetch-timeout", "3s",
        ])
        #expect(try await eventually(within: .seconds(60)) { servers.control.strikes(of: hanging) > 0 })
        let waiting = try await run(["probe", "--ready", mount.path])
        #expect(waiting.status == 6 && waiting.errors.contains("prefetching"), "\(waiting)")
        #expect(try await run(["probe", "--live", mount.path]).status == 0)
        // The requests that hang run into their deadline, and what failed is tried again.
        servers.control.removeRule(hanging)
        let deadline = ContinuousClock.now.advanced(by: .seconds(90))
        var ready = waiting
        while ready.status != 0, ContinuousClock.now < deadline {
            ready = try await run(["probe", "--ready", mount.path])
        }
        #expect(ready.status == 0, "\(ready)")
        servers.control.reset()
        _ = try OpenedFile(mount.path + "/model-2.safetensors").read(at: 0, 6 << 20)
        #expect(mediaRequests == 0)
        try await ended(mount)
        #expect(try await run(["probe", "--live", mount.path]).status == 6)
    }

    @Test func withoutADiskMemoryTakesWhatFitsAndRefusesTheRest() async throws {
        let mount = try await mounted()
        let whole = try await run(["prefetch", mount.path, "--wait"])
        #expect(
            whole.status == 2 && whole.errors.contains("do not fit") && whole.errors.contains("--cache-dir"),
            "\(whole)"
        )
        let part = try await run([
            "prefetch", mount.path + "/model-1.safetensors", mount.path + "/config.json", "--wait",
        ])
        #expect(part.status == 0, "\(part)")
        servers.control.reset()
        let expected = Self.weights(1, 9)
        #expect(isSame(try OpenedFile(mount.path + "/model-1.safetensors").read(at: 0, expected.count), expected[...]))
        #expect(mediaRequests == 0)
        #expect(try await run(["prefetch", mount.path, "--pin"]).status == 2)
        let missing = try await run(["prefetch", mount.path + "/no-such-*", "--wait"])
        #expect(missing.status == 4 && missing.errors.contains("no-such-*"), "\(missing)")
        try await ended(mount)
    }

    /// The process dies while a file is on its way, and with it what it knew of the prefetch.
    @Test func waitingGoesOnInTheProcessThatTakesOver() async throws {
        let mount = try await mounted([
            "--cache-dir", home.appending("cache"), "--cache-free", "0", "--prefetch", "config.json",
        ])
        let processes = KeptProcesses(keeper: mount.program.processID)
        var seen: Set<Int32> = []
        // Every request for them hangs: a second one would bring what the first does not.
        let hanging = ["model-1.safetensors", "model-2.safetensors"].map { path in
            var actions = FaultActions()
            actions.send.latency = .seconds(3600)
            var rule = FaultRule(actions, method: "GET", path: path)
            rule.server = "gcs"
            rule.times = nil
            return servers.control.add(rule)
        }
        let waiting = try servers.start(["prefetch", mount.path, "--wait"], environment: environment)
        for rule in hanging {
            let before = seen.isEmpty ? 0 : servers.control.strikes(of: rule)
            let isAsked = try await eventually(within: .seconds(60)) { servers.control.strikes(of: rule) > before }
            #expect(isAsked && waiting.isRunning, "\(waiting.printed)")
            let worker = try #require(try await processes.next(after: seen))
            kill(worker, SIGKILL)
            seen.insert(worker)
            servers.control.removeRule(rule)
        }
        let ended = try await waiting.ended()
        #expect(ended.status == 0 && ended.output.hasPrefix("verified and resident: 5 files, "), "\(ended)")
        let status = try await run(["status", "--json", mount.path])
        #expect(status.output.components(separatedBy: "\"verified\":true").count == 6, "\(status)")
        servers.control.reset()
        let expected = Self.weights(2, 5)
        let file = try OpenedFile(mount.path + "/model-2.safetensors")
        #expect(isSame(try file.read(at: 0, expected.count), expected[...]))
        #expect(mediaRequests == 0)
        try await self.ended(mount)
    }

    @Test func whoeverWaitsIsToldThatItWasStopped() async throws {
        var actions = FaultActions()
        actions.send.latency = .seconds(3600)
        var rule = FaultRule(actions, method: "GET", path: "model-2.safetensors")
        rule.server = "gcs"
        rule.times = nil
        let number = servers.control.add(rule)
        let mount = try await mounted(["--cache-dir", home.appending("cache"), "--cache-free", "0"])
        let waiting = try servers.start(["prefetch", mount.path, "--wait"], environment: environment)
        #expect(try await eventually(within: .seconds(60)) { servers.control.strikes(of: number) > 0 })
        let stopped = try await run(["prefetch", mount.path, "--stop"])
        #expect(stopped.status == 0, "\(stopped)")
        let ended = try await waiting.ended()
        #expect(ended.status == 130 && ended.errors.contains("somebody has stopped it"), "\(ended)")
        try await self.ended(mount)
    }

    /// As a container sees a volume's `subPath`.
    @Test func aBindMountOfADirectoryLeadsToItsDaemon() async throws {
        let mount = try await mounted(["--cache-dir", home.appending("cache"), "--cache-free", "0"])
        let bound = home.appending("bound")
        try FileManager.default.createDirectory(atPath: bound, withIntermediateDirectories: true)
        let made = try Command.run("mount", ["--bind", mount.path + "/onnx", bound])
        try #require(made.status == 0, "\(made)")
        defer { umount2(bound, Int32(MNT_DETACH)) }
        #expect(try await run(["probe", "--ready", bound]).status == 0)
        let prefetched = try await run(["prefetch", bound + "/model.onnx", bound + "/*.onnx", "--wait"])
        #expect(prefetched.status == 0 && prefetched.output.contains("resident: 1 files"), "\(prefetched)")
        let status = try await run(["status", "--json", mount.path])
        #expect(status.output.components(separatedBy: "\"verified\":true").count == 2, "\(status)")
        umount2(bound, Int32(MNT_DETACH))
        try await ended(mount)
    }

    @Test func curlCanAskIt() async throws {
        let mount = try await mounted(["--keeper", "off"])
        let socket = try penstockAttribute("socket", mount.path)
        #expect(socket.hasPrefix(runtime + "/mnt-"))
        for (path, expected) in [
            ("/metrics", "# TYPE penstock_mount_reads_total counter"), ("/healthz", "ok"), ("/readyz", "ready"),
            ("/status.json", "\"mount_point\""),
        ] {
            let reply = try Command.run("curl", ["-sf", "--unix-socket", socket, "http://localhost\(path)"])
            #expect(reply.status == 0 && reply.output.contains(expected), "\(path): \(reply)")
        }
        let order = [
            "-sf", "--unix-socket", socket, "--data-urlencode", "path=config.json", "http://localhost/prefetch",
        ]
        #expect(try Command.run("curl", order).output.contains("\"state\":\"running\""))
        // A killed process leaves its socket; the next mount at the same place takes it over.
        _ = try await mount.program.killed()
        _ = try await run(["unmount", "--detach", mount.path])
        let again = try servers.start(
            ["mount", "gs://\(EmulatedServers.bucket)/tiny", mount.path, "--memory", "32M"],
            environment: environment
        )
        let isReady = try await eventually(within: .seconds(60)) { !again.printed.output.isEmpty || !again.isRunning }
        #expect(isReady && again.isRunning, "\(again.printed)")
        #expect(try penstockAttribute("socket", mount.path) == socket)
        try await ended((again, mount.path))
    }
}

/// A directory with a snapshot in it.
private struct MountAreaOfFiles {
    let path: String
    init(_ path: String) { self.path = path }

    func publish(_ files: [(String, [UInt8])]) async throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try await StoredSnapshot(path).publish(files)
    }
}
