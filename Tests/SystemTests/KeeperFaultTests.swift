import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// Requests and readers that are in the middle of something when the process dies that has them.
@Suite(.serialized) struct KeeperFaultTests {
    private static let files = ModelFiles(seed: 71, ["stuck.safetensors": 3 << 20, "fine.json": 2000])

    /// A read waits for a bucket that does not answer, and each process that has it crashes.
    @Test func aRequestThatWasInProcessAtTwoCrashesGetsEIO() async throws {
        let servers = try EmulatedServers()
        try Self.files.write(to: servers.directory(of: "acme/stuck"))
        let conveyed = try await servers.run([
            "snapshot", "--quiet", "acme/stuck", "gs://\(EmulatedServers.bucket)/stuck",
        ])
        try #require(conveyed.status == 0, "\(conveyed)")
        let mountPoint = servers.root.appending(path: "mnt").path
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: true)
        let program = try servers.start(["mount", "gs://\(EmulatedServers.bucket)/stuck", mountPoint])
        defer { umount2(mountPoint, Int32(MNT_DETACH)) }
        #expect(try await eventually(within: .seconds(60)) { program.printed.output.hasPrefix("ready") })
        let processes = KeptProcesses(keeper: program.processID)

        let file = try OpenedFile(mountPoint + "/stuck.safetensors")
        var actions = FaultActions()
        actions.send.latency = .seconds(3600)
        var rule = FaultRule(actions, method: "GET", path: "stuck.safetensors")
        rule.server = "gcs"
        rule.times = nil
        let number = servers.control.add(rule)
        let result = ManagedResult()
        Thread {
            do throws(OpenedFile.Failure) {
                result.set(try file.read(at: 1 << 20, 4096).count)
            } catch {
                result.set(-Int(error.number))
            }
        }.start()
        var seen: Set<Int32> = []
        var before = 0
        // Two, or some more: a question to the bucket that is counted may be one of the process that was just killed.
        while seen.count < 6, result.value == nil {
            let worker = try #require(try await processes.next(after: seen))
            // The request is in process: the bucket was asked for its bytes.
            let isKnown = try await eventually(within: .seconds(60)) {
                servers.control.strikes(of: number) > before || result.value != nil
            }
            #expect(isKnown)
            if result.value != nil { break }
            kill(worker, SIGSEGV)
            before = servers.control.strikes(of: number)
            seen.insert(worker)
        }
        #expect((2..<6).contains(seen.count))
        #expect(result.value == -Int(EIO), "\(program.printed.errors)")
        // The others are served on.
        let fine = Array(try #require(Self.files.contents["fine.json"]))
        #expect(try OpenedFile(mountPoint + "/fine.json").read(at: 0, 3000) == fine)
        servers.control.removeRule(number)
        #expect(try OpenedFile(mountPoint + "/stuck.safetensors").read(at: 1 << 20, 4096).count == 4096)
        program.send(SIGTERM)
        #expect(try await program.ended().status == 0)
        #expect(program.printed.errors.contains("a request is answered with EIO"))
    }

    /// The next process cannot use the cache's directory: it costs hits, and nothing else.
    @Test func aCacheThatIsGoneDoesNotKeepTheNextProcessFromServing() async throws {
        let area = try MountArea()
        defer { area.remove() }
        var random = SeededRandom(seed: 11)
        let bytes = random.bytes((5 << 20) + 3)
        try await StoredSnapshot(area.objects).publish([("w", bytes)])
        let mount = try ServedMount(area.source, at: area.mountPoint, ["--cache-dir", area.root + "/cache"])
        let processes = KeptProcesses(keeper: mount.process.processIdentifier)
        let file = try OpenedFile(area.mountPoint + "/w")
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        #expect(rename(area.root + "/cache", area.root + "/gone") == 0)
        try Data().write(to: URL(filePath: area.root + "/cache"))
        let worker = try #require(processes.killWorker())
        posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
        #expect(isSame(try file.read(at: 0, bytes.count), bytes[...]))
        let next = try #require(try await processes.next(after: [worker]))
        #expect(isSame(try OpenedFile(area.mountPoint + "/w").read(at: 0, bytes.count), bytes[...]))
        #expect(mount.log.contains("goes on without its disk cache"))
        #expect(processes.workers == [next])
        #expect(mount.end() == 0)
    }

    /// A directory without a manifest is read halfway; then its process dies and it changes.
    @Test func aReaderOfADirectoryGoesOnInAnotherListing() async throws {
        let area = try MountArea()
        defer { area.remove() }
        let objects = try StoredSnapshot(area.objects)
        let stay = (0..<1500).map { "d/n\($0 * 2)-\(String(repeating: "x", count: 40))" }
        for name in stay { try await objects.put(name, [1]) }
        for number in 0..<50 { try await objects.put("d/a\(number)", [2]) }
        let mount = try ServedMount(area.source, at: area.mountPoint, ["--listing-ttl", "0s"])
        let processes = KeptProcesses(keeper: mount.process.processIdentifier)
        let stream = try #require(opendir(area.mountPoint + "/d"))
        defer { closedir(stream) }
        var found: [String] = []
        for round in 0..<40 {
            for _ in 0..<50 {
                guard let entry = readdir(stream) else { break }
                withUnsafeBytes(of: entry.pointee.d_name) { name in
                    found.append(String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
                }
            }
            guard round % 10 == 3, let worker = processes.killWorker() else { continue }
            // Names before and behind the reader come and go.
            for number in 0..<30 { try await objects.put("d/b\(round)-\(number)", [3]) }
            for number in 0..<10 { try FileManager.default.removeItem(atPath: area.objects + "/d/a\(round + number)") }
            #expect(try await processes.next(after: [worker]) != nil)
        }
        let counts = Dictionary(found.map { ($0, 1) }, uniquingKeysWith: +)
        #expect(stay.allSatisfy { counts[String($0.dropFirst(2))] == 1 })
        #expect(counts.values.allSatisfy { $0 == 1 })
        #expect(mount.end() == 0)
    }
}

/// What a thread came to.
private final class ManagedResult: @unchecked Sendable {
    private let lock = NSLock()
    private var result: Int?

    func set(_ value: Int) { lock.withLock { result = value } }
    var value: Int? { lock.withLock { result } }
}
