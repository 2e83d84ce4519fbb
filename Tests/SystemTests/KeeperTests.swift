import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing

/// The process that serves a mount is killed, crashes, or is replaced, while applications read.
@Suite(.serialized) struct KeeperTests {
    private static func content(_ seed: UInt64, _ size: Int) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(size)
    }

    /// Files for each way of reading, and a directory of many small ones.
    private static let contents: [String: [UInt8]] = {
        var contents: [String: [UInt8]] = [:]
        for (index, name) in ["cached", "direct", "mapped", "proven", "whole"].enumerated() {
            contents[name] = content(UInt64(100 + index), (12 << 20) + 4097 * index + 5)
        }
        for number in 0..<400 { contents["many/file-\(number)"] = content(UInt64(number), 100 + number * 31) }
        return contents
    }()

    private let area: MountArea

    init() async throws {
        area = try MountArea()
        let files = Self.contents.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        try await StoredSnapshot(area.objects).publish(files)
    }

    private var reading: KeptReading { KeptReading(mountPoint: area.mountPoint, contents: Self.contents) }

    private func mounted(_ more: [String] = [], program: String? = nil) throws -> (ServedMount, KeptProcesses) {
        let arguments = ["--memory", "16M", "--cache-dir", area.root + "/cache"] + more
        let mount = try ServedMount(area.source, at: area.mountPoint, arguments, program: program)
        return (mount, KeptProcesses(keeper: mount.process.processIdentifier))
    }

    /// Eight readers, none like the other.
    private func readers() throws -> [(name: String, round: KeptReaders.Round)] {
        let small = Self.contents.keys.filter { $0.hasPrefix("many/") }.sorted()
        return [
            ("cached", try reading.cached("cached")), ("direct", try reading.direct("direct")),
            ("mapped", try reading.mapped("mapped")), ("proven", try reading.cached("proven")),
            ("cached too", try reading.cached("mapped")), ("opened", reading.opened(["whole", "cached"])),
            ("opened small", reading.opened(small)), ("listed", reading.listed("many")),
        ]
    }

    /// Reads a file until the kernel reads it from the cache by itself, where it does that.
    private func prove(_ path: String) async throws {
        guard isPassthroughPossible else { return print("the kernel reads no files by itself here") }
        let isProven = try await eventually(within: .seconds(60)) {
            let file = try OpenedFile(area.mountPoint + "/" + path)
            posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
            _ = try file.read(at: 0, Self.contents[path]?.count ?? 0)
            return try withExtendedLifetime(file) { try reader(of: path) == "yes" }
        }
        #expect(isProven)
    }

    private func reader(of path: String) throws -> String {
        try KernelRead.reader(of: area.mountPoint + "/" + path)
    }

    /// 200 kills in a soak.
    @Test func killedAgainAndAgainNoReaderNotices() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        try await prove("proven")
        var random = TestRun.random(7)
        let readers = try KeptReaders(readers(), seed: TestRun.seed)
        var seen: Set<Int32> = []
        let kills = TestRun.isSoak ? 200 : 12
        for number in 0..<kills {
            // Most have done some work; some are killed as soon as they exist, but not one after the other: that would be
            // a loop.
            if number % 4 != 3 { #expect(readers.advance(Int.random(in: 1...6, using: &random))) }
            let worker = try #require(try await processes.next(after: seen), "\(mount.log)")
            readers.killed()
            kill(worker, SIGKILL)
            seen.insert(worker)
        }
        #expect(readers.advance(3))
        print("keeper: \(KeptProcesses.resident(processes.keeper)) KiB")
        #expect(readers.end())
        #expect(readers.faults == [])
        let pauses = readers.pauses
        if let last = pauses.last {
            print("\(kills) kills, \(readers.rounds) rounds; pauses: p50 \(pauses[pauses.count / 2]),", terminator: " ")
            print("p99 \(pauses[min(pauses.count - 1, pauses.count * 99 / 100)]), longest \(last)")
        }
        #expect(mount.process.isRunning)
        #expect(mount.end() == 0)
        #expect(!mount.isMounted)
    }

    @Test func whatIsOpenInTheKernelStaysSoAndIsOpenedLikeThatAgain() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        try await prove("proven")
        let first = try OpenedFile(area.mountPoint + "/proven")
        let mode = try reader(of: "proven")
        let whole = Self.contents["proven"] ?? []
        for _ in 0..<3 {
            let worker = try #require(processes.killWorker())
            _ = try #require(try await processes.next(after: [worker]))
            #expect(try reader(of: "proven") == mode)
            let second = try OpenedFile(area.mountPoint + "/proven")
            #expect(isSame(try second.read(at: 0, whole.count), whole[...]))
            #expect(isSame(try first.read(at: 0, whole.count), whole[...]))
        }
        withExtendedLifetime(first) {}
        #expect(mount.end() == 0)
    }

    @Test func aNewProgramTakesOverUnderLoad() async throws {
        defer { area.remove() }
        let program = area.root + "/penstock"
        try FileManager.default.copyItem(atPath: try ReleasePrograms.path("penstock"), toPath: program)
        let (mount, processes) = try mounted(program: program)
        let readers = try KeptReaders(readers(), seed: 5)
        var seen: Set<Int32> = []
        for _ in 0..<3 {
            #expect(readers.advance(2))
            let old = try #require(processes.worker)
            seen.insert(old)
            try FileManager.default.copyItem(atPath: program, toPath: program + ".new")
            #expect(rename(program + ".new", program) == 0)
            kill(processes.keeper, SIGUSR2)
            let new = try #require(try await processes.next(after: seen), "\(mount.log)")
            #expect(try await eventually(within: .seconds(60)) { processes.workers == [new] })
            #expect(
                KeptProcesses.program(new) != 0 && KeptProcesses.program(new) != KeptProcesses.program(processes.keeper)
            )
        }
        #expect(readers.advance(2))
        // A program that cannot run changes nothing.
        let serving = try #require(processes.worker)
        try Data("no program".utf8).write(to: URL(filePath: program + ".new"))
        #expect(chmod(program + ".new", 0o755) == 0 && rename(program + ".new", program) == 0)
        kill(processes.keeper, SIGUSR2)
        #expect(try await eventually(within: .seconds(60)) { mount.log.contains("the old one serves on") })
        #expect(readers.advance(2))
        #expect(processes.workers == [serving])
        kill(serving, SIGKILL)
        #expect(readers.advance(2))
        #expect(readers.end())
        #expect(readers.faults == [])
        #expect(mount.end() == 0)
    }

    /// Whoever it hits: the old process, the new one, both, or those that come after them, at any moment of a hand-over, while
    /// files that the kernel reads by itself are opened.
    @Test func killedWhileANewProgramTakesOverNoReaderNotices() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        try await prove("proven")
        var random = TestRun.random(8)
        let more: [(name: String, round: KeptReaders.Round)] = [
            ("opened proven", reading.opened(["proven"])), ("opened proven too", reading.opened(["proven", "whole"])),
        ]
        let readers = try KeptReaders(readers() + more, seed: TestRun.seed)
        for _ in 0..<(TestRun.isSoak ? 60 : 8) {
            #expect(readers.advance(1))
            kill(processes.keeper, SIGUSR2)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                // Each look takes its time: at some point of what is under way.
                for _ in 0..<Int.random(in: 0...40, using: &random) { _ = processes.workers }
                guard let victim = processes.workers.randomElement(using: &random) else { continue }
                kill(victim, SIGKILL)
            }
        }
        #expect(readers.advance(2))
        #expect(readers.end())
        #expect(readers.faults == [], "\(mount.log)")
        #expect(mount.end() == 0)
        #expect(!mount.isMounted)
    }

    @Test func aCrashLoopEndsInACleanUnmountAndAMessage() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        var seen: Set<Int32> = []
        while seen.count < 30, let worker = try await processes.next(after: seen) {
            kill(worker, SIGSEGV)
            seen.insert(worker)
            _ = try await eventually(within: .seconds(60)) { !processes.workers.contains(worker) }
            if !mount.process.isRunning { break }
            _ = try await eventually(within: .seconds(30)) { !processes.workers.isEmpty || !mount.process.isRunning }
            if !mount.process.isRunning { break }
        }
        mount.process.waitForEnd()
        #expect(mount.process.terminationStatus == 1)
        #expect(seen.count == 8)
        #expect(!mount.isMounted)
        #expect(mount.log.contains("die one after the other: unmounting"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: area.mountPoint).isEmpty)
    }

    @Test func aNewManifestDoesNotChangeWhatIsShown() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        let file = try OpenedFile(area.mountPoint + "/whole")
        try await StoredSnapshot(area.objects).publish([("other", [1, 2, 3])])
        let worker = try #require(processes.killWorker())
        #expect(try FileManager.default.contentsOfDirectory(atPath: area.mountPoint).count == 6)
        #expect(try await processes.next(after: [worker]) != nil)
        let whole = Self.contents["whole"] ?? []
        #expect(isSame(try file.read(at: 0, whole.count), whole[...]))
        #expect(failure { access(area.mountPoint + "/other", F_OK) } == ENOENT)
        #expect(try Command.run("getfattr", ["-n", "user.penstock.sha256", area.mountPoint + "/whole"]).status == 0)
        #expect(mount.end() == 0)
    }

    @Test func unmountingWorksWhileNobodyServes() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        let worker = try #require(processes.worker)
        kill(worker, SIGSTOP)
        #expect(umount2(area.mountPoint, 0) == 0)
        kill(worker, SIGKILL)
        mount.process.waitForEnd()
        #expect(mount.process.terminationStatus == 0)
        #expect(!mount.isMounted)
    }

    @Test func aSignalThatComesWhileNobodyServesUnmountsToo() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        processes.killWorker()
        #expect(mount.end() == 0)
        #expect(!mount.isMounted)
    }

    @Test func withItsKeeperTheMountEndsAndCanBeMadeAgain() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted()
        let worker = try #require(processes.worker)
        mount.end(SIGKILL)
        #expect(try await eventually(within: .seconds(60)) { !KeptProcesses.isAlive(worker) })
        // A process that is a zombie may still be letting go of /dev/fuse: what is asked in that moment is broken off.
        let isDisconnected = try await eventually(within: .seconds(60)) {
            failure { open(area.mountPoint + "/whole", O_RDONLY) } == ENOTCONN
        }
        #expect(isDisconnected)
        let (again, _) = try mounted()
        #expect(again.log.contains("took away the mount"))
        #expect(again.end() == 0)
    }

    @Test func switchedOffThereIsOneProcess() async throws {
        defer { area.remove() }
        let (mount, processes) = try mounted(["--keeper", "off"])
        #expect(processes.workers == [])
        #expect(try OpenedFile(area.mountPoint + "/many/file-3").read(at: 0, 1000) == Self.contents["many/file-3"])
        #expect(mount.end() == 0)
    }
}
