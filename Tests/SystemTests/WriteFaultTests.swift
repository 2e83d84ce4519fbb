import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// A bucket that refuses, forgets and loses replies under a writable mount: what was acknowledged is in it in the end.
@Suite(.serialized) struct WriteFaultTests {
    private let servers: EmulatedServers

    init() throws { servers = try EmulatedServers() }

    private func mounted(_ more: [String] = []) async throws -> MountedPrefix {
        let staging = servers.root.appending(path: "staging").path
        let options = ["--profile", "checkpoint", "--staging-dir", staging, "--drain-timeout", "120s"]
        return try await MountedPrefix(servers, "run", options + more)
    }

    private func stored() async throws -> [String: Data] {
        var stored: [String: Data] = [:]
        for name in try await servers.bucket.names("run/") where !name.contains("/.penstock/") {
            stored[String(name.dropFirst(4))] = try await servers.bucket.contents(name)
        }
        return stored
    }

    /// write(2), fsync(2), close(2): the number of the first that fails, or 0.
    private func write(_ content: Data, to path: String) -> Int32 {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        if file < 0 { return errno }
        var failure: Int32 = 0
        let count = content.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        if count != content.count { failure = errno }
        if failure == 0, fsync(file) != 0 { failure = errno }
        if close(file) != 0, failure == 0 { failure = errno }
        return failure
    }

    private enum Weather: String, CaseIterable, Sendable {
        case unavailable, throttled, lostReplies, shortAcknowledgements, sessionsGone, sessionsUnknown

        var actions: FaultActions {
            var actions = FaultActions()
            switch self {
            case .unavailable: return .answer(503)
            case .throttled: return .answer(429)
            case .lostReplies: return .sending { $0.losesReply = true }
            case .shortAcknowledgements: actions.service.acknowledgeAtMost = 300_000
            case .sessionsGone: actions.service.expiresSession = 410
            case .sessionsUnknown: actions.service.expiresSession = 404
            }
            return actions
        }
    }

    /// A third of all requests that write go wrong, in one way after the other and in all at once.
    @Test(arguments: [
        [Weather.unavailable, .throttled], [.lostReplies], [.shortAcknowledgements, .sessionsGone], Weather.allCases,
    ])
    private func inBadWeatherAllThatWasAcknowledgedArrives(_ weather: [Weather]) async throws {
        let mount = try await mounted()
        for (index, kind) in weather.enumerated() {
            for method in ["POST", "PUT"] {
                var rule = FaultRule(kind.actions, method: method)
                (rule.times, rule.probability, rule.seed) = (nil, 0.33 / Double(weather.count), UInt64(index))
                servers.control.add(rule)
            }
        }
        var random = TestRun.random(51)
        var expected: [String: Data] = [:]
        for (index, size) in [0, 1, 100_000, 3 << 20, 20 << 20, 40 << 20].enumerated() {
            let content = Data(random.bytes(size))
            #expect(write(content, to: mount.path("file-\(index).tmp")) == 0)
            #expect(rename(mount.path("file-\(index).tmp"), mount.path("file-\(index)")) == 0)
            expected["file-\(index)"] = content
        }
        // One is written anew, one goes.
        expected["file-3"] = Data(random.bytes(9 << 20))
        #expect(write(expected["file-3"] ?? Data(), to: mount.path("file-3")) == 0)
        #expect(unlink(mount.path("file-2")) == 0)
        expected["file-2"] = nil
        try await mount.unmount()
        let found = try await stored()
        #expect(found.mapValues(\.count) == expected.mapValues(\.count))
        #expect(found == expected)
    }

    /// Who waits for the bucket is told that it refuses; nothing is lost, and all goes on when it does not refuse any more.
    @Test func revokedCredentialsAreAnErrorAndNotSilence() async throws {
        let mount = try await mounted(["--close", "published"])
        var refusal = FaultRule(.answer(403), path: "upload")
        refusal.times = nil
        let rule = servers.control.add(refusal)
        #expect(write(Data("kept".utf8), to: mount.path("file")) == EACCES)
        let flushed = try await servers.run(["flush", mount.path, "--timeout", "1s"])
        #expect(flushed.status == 7, "\(flushed)")
        let status = try await servers.run(["status", mount.path])
        #expect(status.output.contains("not allowed with these credentials"), "\(status)")
        #expect(try await stored().isEmpty)
        servers.control.removeRule(rule)
        #expect(try mount.contents() == ["file": Data("kept".utf8)])
        try await mount.unmount()
        #expect(try await stored() == ["file": Data("kept".utf8)])
    }

    /// Somebody else has written the object since it was listed: it stays, and ours is kept under a name that says so.
    @Test func whatSomebodyElseWroteMeanwhileStays() async throws {
        try await servers.bucket.put("run/file", Data("first".utf8))
        let mount = try await mounted()
        #expect(try mount.contents() == ["file": Data("first".utf8)])
        try await servers.bucket.put("run/file", Data("theirs".utf8))
        #expect(write(Data("ours".utf8), to: mount.path("file")) == 0)
        try await mount.unmount()
        #expect(try await stored() == ["file": Data("theirs".utf8), "file.conflict-1": Data("ours".utf8)])
    }

    /// A listing, and a read, that the bucket does not answer for an hour: whoever is killed in them goes.
    @Test func whoIsKilledWhileTheBucketIsSilentGoes() async throws {
        try await servers.bucket.put("run/old/file", Data([1, 2, 3]))
        let mount = try await mounted()
        var rule = FaultRule(.sending { $0.latency = .seconds(3600) })
        (rule.server, rule.times) = ("gcs", nil)
        for isListed in [false, true] {
            if isListed { #expect(try FileManager.default.contentsOfDirectory(atPath: mount.path("old")) == ["file"]) }
            let silence = servers.control.add(rule)
            let process = Process()
            process.executableURL = URL(filePath: "/bin/cat")
            process.arguments = [mount.path("old/file")]
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            #expect(
                try await eventually(within: .seconds(60)) { servers.control.strikes(of: silence) > 0 },
                "\(isListed)"
            )
            kill(process.processIdentifier, SIGKILL)
            process.waitForEnd()
            #expect(process.terminationReason == .uncaughtSignal)
            servers.control.removeRule(silence)
        }
        try await mount.unmount()
    }
}
