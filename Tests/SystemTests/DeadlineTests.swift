import Emulators
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// A store that takes requests and never answers: every call of an application ends, and tells why.
@Suite(.serialized) struct DeadlineTests {
    private static let files = ModelFiles(
        seed: 78,
        ["a/model.safetensors": 12 << 20, "b.safetensors": 9 << 20, "config.json": 300]
    )

    private let servers: EmulatedServers

    init() async throws {
        servers = try EmulatedServers()
        try Self.files.write(to: servers.directory(of: "acme/mute"))
        servers.hub.warm()
        let ended = try await servers.run(["snapshot", "acme/mute", "gs://\(EmulatedServers.bucket)/mute", "--quiet"])
        #expect(ended.status == 0, "\(ended)")
        servers.control.reset()
    }

    /// From now on nothing of the bucket is answered.
    @discardableResult
    private func silence() -> Int {
        var rule = FaultRule(.sending { $0.latency = .seconds(3600) })
        rule.server = "gcs"
        rule.times = nil
        return servers.control.add(rule)
    }

    private func number<Value>(_ body: () throws(OpenedFile.Failure) -> Value) -> Int32 {
        do throws(OpenedFile.Failure) {
            _ = try body()
            return 0
        } catch {
            return error.number
        }
    }

    @Test func whatASnapshotKnowsNeedsNoStoreAndTheRestTimesOut() async throws {
        let mount = try await MountedPrefix(servers, "mute", ["--fetch-timeout", "1s"])
        let opened = try OpenedFile(mount.path + "/b.safetensors")
        #expect(try opened.read(at: 0, 100).count == 100)
        let rule = silence()
        var status = stat()
        #expect(stat(mount.path + "/a/model.safetensors", &status) == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: mount.path + "/a") == ["model.safetensors"])
        let shown = try Command.run("getfattr", ["-d", mount.path + "/b.safetensors"]).output
        #expect(shown.contains("user.penstock.sha256="))
        #expect(failure { stat(mount.path + "/nothing", &status) } == ENOENT)
        // The table of the first is not there yet; of the second bytes at the end are not.
        #expect(
            number { () throws(OpenedFile.Failure) in try OpenedFile(mount.path + "/a/model.safetensors") } == ETIMEDOUT
        )
        #expect(number { () throws(OpenedFile.Failure) in try opened.read(at: 8 << 20, 100) } == ETIMEDOUT)
        // When it speaks again, so do they.
        servers.control.removeRule(rule)
        let again = try OpenedFile(mount.path + "/a/model.safetensors")
        #expect(try again.read(at: 0, 12 << 20).count == 12 << 20)
        #expect(try opened.read(at: 8 << 20, 1 << 20).count == 1 << 20)
        try await mount.unmount()
    }

    @Test func withoutAManifestListingsTimeOutToo() async throws {
        let first = try await MountedPrefix(
            servers,
            "mute/a",
            ["--fetch-timeout", "1s", "--listing-ttl", "0s"]
        )
        var status = stat()
        #expect(stat(first.path + "/model.safetensors", &status) == 0)
        silence()
        #expect(failure { stat(first.path + "/other", &status) } == ETIMEDOUT)
        #expect(Self.listing(first.path) == ETIMEDOUT)
        try await first.unmount()
    }

    /// The errno of opening a directory, or of reading its first name.
    private static func listing(_ path: String) -> Int32 {
        errno = 0
        guard let directory = opendir(path) else { return errno }
        defer { closedir(directory) }
        return readdir(directory) == nil ? errno : 0
    }

    @Test func aMountThatGetsNoAnswerEnds() async throws {
        silence()
        let directory = servers.root.appending(path: "never")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let source = "gs://\(EmulatedServers.bucket)/mute"
        let ended = try await servers.run(["mount", source, directory.path, "--fetch-timeout", "1s"])
        #expect(ended.status == 6, "\(ended)")
        #expect(ended.errors.contains("no answer within"))
    }

    /// A signal ends an open that waits for the store. Reads of the page cache hear only a kill: the kernel waits for them.
    @Test func aSignalInterruptsWhatWaits() async throws {
        let mount = try await MountedPrefix(servers, "mute")
        let opened = try OpenedFile(mount.path + "/b.safetensors")
        #expect(try opened.read(at: 0, 100).count == 100)
        let rule = silence()
        let path = mount.path
        let number = try await interrupted(rule) { () throws(OpenedFile.Failure) in
            _ = try OpenedFile(path + "/a/model.safetensors")
        }
        #expect(number == EINTR)
        let seen = servers.control.strikes(of: rule)
        let process = Process()
        process.executableURL = URL(filePath: "/bin/cat")
        process.arguments = [path + "/b.safetensors"]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        #expect(try await eventually(within: .seconds(60)) { servers.control.strikes(of: rule) > seen })
        kill(process.processIdentifier, SIGKILL)
        process.waitForEnd()
        #expect(process.terminationReason == .uncaughtSignal)
        servers.control.removeRule(rule)
        try await mount.unmount()
    }

    /// Runs a call on a thread of its own, and sends it a signal when the store has got its request; its errno.
    private func interrupted(
        _ rule: Int,
        _ call: @escaping @Sendable () throws(OpenedFile.Failure) -> Void
    ) async throws -> Int32 {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        // Without SA_RESTART: the kernel would begin the call again.
        action.sa_flags = 0
        sigaction(SIGUSR1, &action, nil)
        let outcome = InterruptedCall()
        let release = DispatchSemaphore(value: 0)
        let thread = Thread {
            // Threads of tasks block signals, and hand that on.
            var heard = sigset_t()
            sigemptyset(&heard)
            sigaddset(&heard, SIGUSR1)
            pthread_sigmask(SIG_UNBLOCK, &heard, nil)
            outcome.begin()
            do throws(OpenedFile.Failure) {
                try call()
                outcome.end(0)
            } catch {
                outcome.end(error.number)
            }
            // It must be there as long as somebody may send it a signal.
            release.wait()
        }
        thread.start()
        defer { release.signal() }
        #expect(try await eventually(within: .seconds(60)) { servers.control.strikes(of: rule) > 0 })
        // The request is at the store, so the call waits; one signal might still come before it has gone to sleep.
        #expect(
            try await eventually(within: .seconds(60)) {
                outcome.signal(SIGUSR1)
                return outcome.number != nil
            }
        )
        return outcome.number ?? 0
    }
}

/// A call on a thread, and how it ended.
private final class InterruptedCall: Sendable {
    private let thread = Atomic<UInt>(0)
    private let result = Atomic<Int>(-1)

    func begin() { thread.store(pthread_self(), ordering: .releasing) }
    func end(_ number: Int32) { result.store(Int(number), ordering: .releasing) }

    var number: Int32? {
        let value = result.load(ordering: .acquiring)
        return value < 0 ? nil : Int32(value)
    }

    func signal(_ number: Int32) {
        let target = thread.load(ordering: .acquiring)
        if target != 0, self.number == nil { pthread_kill(target, number) }
    }
}
