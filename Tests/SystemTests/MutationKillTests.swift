import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// Calls that change something, made while the process that answers them is killed: each happens once, and no caller sees an error.
@Suite(.serialized) struct MutationKillTests {
    private let servers: EmulatedServers

    init() throws { servers = try EmulatedServers() }

    /// One writer's round in a directory of its own. Each call would fail, or show in the end, if it happened twice or not at all:
    /// mkdir and O_EXCL with EEXIST, rename and unlink with ENOENT, appended bytes by their number.
    private struct Round {
        let directory: String
        var faults: [String] = []

        private mutating func fault(_ what: String) { faults.append("\(directory): \(what)") }

        private mutating func check(_ what: String, _ result: Int32) -> Bool {
            if result >= 0 { return true }
            fault("\(what): \(String(cString: strerror(errno)))")
            return false
        }

        mutating func run(_ random: inout SeededRandom) {
            let (old, new) = (directory + "/old", directory + "/new")
            let bytes = random.bytes(Int.random(in: 1...200_000, using: &random))
            guard check("mkdir", mkdir(directory, 0o755)) else { return }
            let file = open(old, O_CREAT | O_EXCL | O_RDWR | O_APPEND, 0o644)
            guard check("open with O_EXCL", file) else { return }
            defer { close(file) }
            for _ in 0..<3 { append(bytes, file) }
            _ = check("chmod", chmod(old, 0o640))
            _ = check("symlink", symlink("old", directory + "/link"))
            _ = check("rename", rename(old, new))
            _ = check("fsync", fsync(file))
            compare(file, bytes + bytes + bytes)
            _ = check("ftruncate", ftruncate(file, off_t(bytes.count)))
            append([7], file)
            compare(file, bytes + [7])
            _ = check("unlink of the link", unlink(directory + "/link"))
            if Bool.random(using: &random) { return }
            _ = check("unlink", unlink(new))
            _ = check("rmdir", rmdir(directory))
        }

        private mutating func append(_ bytes: [UInt8], _ file: Int32) {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count != bytes.count { fault("write: \(count) of \(bytes.count), errno \(errno)") }
        }

        private mutating func compare(_ file: Int32, _ expected: [UInt8]) {
            var found = [UInt8](repeating: 0, count: expected.count + 1)
            let count = found.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, 0) }
            if count != expected.count || !found.dropLast().elementsEqual(expected) {
                fault("it reads \(count) bytes, and not the \(expected.count) that were written")
            }
        }
    }

    /// 200 kills in a soak.
    @Test func eachChangeHappensOnceWhoeverIsKilledMeanwhile() async throws {
        let staging = servers.root.appending(path: "staging").path
        let mount = try await MountedPrefix(servers, "run", ["--profile", "checkpoint", "--staging-dir", staging])
        let processes = KeptProcesses(keeper: mount.processID)
        let numbers = (0..<4).map { _ in Counter() }
        let writers = KeptReaders(
            numbers.enumerated().map { index, number in
                (
                    "writer \(index)",
                    { random, fault in
                        var round = Round(directory: mount.path("w\(index)-\(number.next())"))
                        round.run(&random)
                        round.faults.forEach(fault)
                    }
                )
            },
            seed: TestRun.seed
        )
        var random = TestRun.random(41)
        var seen: Set<Int32> = []
        let kills = TestRun.isSoak ? 200 : 12
        for _ in 0..<kills {
            // Whoever is killed before it has served a request, again and again, would be a loop that ends the mount.
            #expect(writers.advance(1))
            let worker = try #require(try await processes.next(after: seen))
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...30, using: &random)))
            writers.killed()
            kill(worker, SIGKILL)
            seen.insert(worker)
        }
        #expect(writers.advance(2))
        #expect(writers.end())
        #expect(writers.faults == [])
        let shown = try mount.contents()
        #expect(shown.keys.allSatisfy { $0.hasSuffix("/new") })
        try await mount.unmount()
        var stored: [String: Data] = [:]
        for name in try await servers.bucket.names("run/") where !name.contains("/.penstock/") {
            stored[String(name.dropFirst(4))] = try await servers.bucket.contents(name)
        }
        #expect(Set(stored.keys) == Set(shown.keys))
        #expect(stored.filter { $0.value != shown[$0.key] }.isEmpty)
        print("\(kills) kills, \(writers.rounds) rounds; longest pause \(writers.pauses.last ?? .zero)")
    }

    private final class Counter {
        private var last = 0
        func next() -> Int {
            last += 1
            return last
        }
    }
}
