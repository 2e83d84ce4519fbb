import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// A keeper on a kernel that cannot send requests again (before Linux 6.9): a hidden option makes any kernel one of those.
@Suite(.serialized) struct OlderKernelTests {
    private static let option = "--without-resend"

    /// Reads wait for a bucket that does not answer when the process dies that has them.
    @Test func whatWasInProcessFailsAtOnceAndEverythingElseGoesOn() async throws {
        let files = ModelFiles(seed: 73, ["stuck.safetensors": 3 << 20, "fine.json": 2000])
        let servers = try EmulatedServers()
        try files.write(to: servers.directory(of: "acme/stuck"))
        let conveyed = try await servers.run([
            "snapshot", "--quiet", "acme/stuck", "gs://\(EmulatedServers.bucket)/stuck",
        ])
        try #require(conveyed.status == 0, "\(conveyed)")
        let mountPoint = servers.root.appending(path: "mnt").path
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: true)
        let program = try servers.start(["mount", "gs://\(EmulatedServers.bucket)/stuck", mountPoint, Self.option])
        defer { umount2(mountPoint, Int32(MNT_DETACH)) }
        #expect(try await eventually(within: .seconds(60)) { program.printed.output.hasPrefix("ready") })
        let processes = KeptProcesses(keeper: program.processID)

        let file = try OpenedFile(mountPoint + "/stuck.safetensors", O_RDONLY | OpenedFile.direct)
        var actions = FaultActions()
        actions.send.latency = .seconds(3600)
        var rule = FaultRule(actions, method: "GET", path: "stuck.safetensors")
        rule.server = "gcs"
        rule.times = nil
        let number = servers.control.add(rule)
        let results = (0..<4).map { index in ReadOnThread(file, at: index << 19, 64 << 10) }
        #expect(try await eventually(within: .seconds(60)) { servers.control.strikes(of: number) > 0 })
        let worker = try #require(processes.killWorker())
        for result in results { #expect(try await result.value() == -Int(ECONNABORTED)) }
        // Others are served by the next process, and so are those that ask again: on the same handle, too.
        #expect(try await processes.next(after: [worker]) != nil)
        let fine = Array(try #require(files.contents["fine.json"]))
        #expect(try OpenedFile(mountPoint + "/fine.json").read(at: 0, 3000) == fine)
        servers.control.removeRule(number)
        let whole = Array(try #require(files.contents["stuck.safetensors"]))
        let again = ReadOnThread(file, at: 1 << 20, 64 << 10)
        #expect(try await again.value() == 64 << 10)
        #expect(again.bytes == Array(whole[(1 << 20)..<(1 << 20) + (64 << 10)]))
        program.send(SIGTERM)
        #expect(try await program.ended().status == 0)
        #expect(!ServedMount.isMounted(mountPoint))
    }

    /// Errors are allowed, but only that one; wrong bytes, and waiting for ever, are not.
    @Test func killedAgainAndAgainReadersSeeErrorsAndNothingWorse() async throws {
        var random = SeededRandom(seed: 5)
        let contents = Dictionary(
            uniqueKeysWithValues: ["a", "b", "c"].map { ($0, random.bytes((8 << 20) + 99)) }
        )
        let area = try MountArea()
        defer { area.remove() }
        try await StoredSnapshot(area.objects).publish(contents.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        let mount = try ServedMount(
            area.source,
            at: area.mountPoint,
            ["--memory", "16M", "--cache-dir", area.root + "/cache", Self.option]
        )
        let processes = KeptProcesses(keeper: mount.process.processIdentifier)
        let reading = KeptReading(mountPoint: area.mountPoint, contents: contents)
        let readers = KeptReaders(
            [
                ("cached", try reading.cached("a")), ("direct", try reading.direct("b")),
                ("direct too", try reading.direct("b")), ("opened", reading.opened(["a", "c"])),
                ("opened too", reading.opened(["b", "c"])),
            ],
            seed: 3
        )
        var seen: Set<Int32> = []
        for _ in 0..<(TestRun.isSoak ? 100 : 10) {
            #expect(readers.advance(2))
            let worker = try #require(try await processes.next(after: seen), "\(mount.log)")
            kill(worker, SIGKILL)
            seen.insert(worker)
        }
        #expect(readers.advance(3))
        #expect(readers.end())
        #expect(readers.faults.allSatisfy { $0.hasSuffix("errno \(ECONNABORTED)") }, "\(readers.faults)")
        #expect(mount.end() == 0)
        #expect(!mount.isMounted)
    }
}

/// One read on a thread of its own, past the kernel's cache.
final class ReadOnThread: @unchecked Sendable {  // all state behind the lock
    private let lock = NSLock()
    private var result: Int?
    private var read: [UInt8] = []

    init(_ file: OpenedFile, at offset: Int, _ count: Int) {
        Thread { [self] in
            guard let buffer = aligned_alloc(4096, count) else { return }
            defer { free(buffer) }
            let done = pread(file.descriptor, buffer, count, off_t(offset))
            let number = errno
            lock.withLock {
                result = done < 0 ? -Int(number) : done
                if done > 0 { read = Array(UnsafeRawBufferPointer(start: buffer, count: done)) }
            }
        }.start()
    }

    /// What pread(2) gave, or the negative error number; waits for it.
    func value() async throws -> Int? {
        _ = try await eventually(within: .seconds(60)) { self.lock.withLock { self.result != nil } }
        return lock.withLock { result }
    }

    var bytes: [UInt8] { lock.withLock { read } }
}
