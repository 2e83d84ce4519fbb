import Foundation
import Glibc
import TestSupport
import Testing

/// Mounts with `--cache-dir`: what outlives them, and what becomes of readers when the cache's disk does not hold.
@Suite(.serialized) struct DiskCacheMountTests {
    private static let weights: [UInt8] = {
        var random = SeededRandom(seed: 77)
        return random.bytes((24 << 20) + 4321)
    }()

    private let area: MountArea
    private var cache: String { area.root + "/cache" }
    private var model: String { area.mountPoint + "/model.safetensors" }

    init() async throws {
        area = try MountArea()
        let small = Array("{}".utf8)
        try await StoredSnapshot(area.objects).publish([("model.safetensors", Self.weights), ("config.json", small)])
    }

    private func served(_ mountPoint: String? = nil, _ more: [String] = []) throws -> ServedMount {
        let arguments = ["--memory", "32M", "--cache-dir", cache, "--cache-free", "0"] + more
        return try ServedMount(area.source, at: mountPoint ?? area.mountPoint, arguments)
    }

    private func isRight(_ path: String) throws -> Bool {
        isSame(try OpenedFile(path).read(at: 0, Self.weights.count + 1), Self.weights[...])
    }

    /// Reads until all is on the disk: writing goes on behind the readers' backs, and is left out when the disk is behind.
    private func fill(_ path: String) throws {
        let end = Date().addingTimeInterval(60)
        while true {
            let file = try OpenedFile(path)
            // Not from the kernel's pages of the last round.
            posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
            let isRight = isSame(try file.read(at: 0, Self.weights.count + 1), Self.weights[...])
            try #require(isRight)
            if bytesKept(in: cache) >= Self.weights.count { return }
            try #require(Date() < end, "\(bytesKept(in: cache)) bytes are kept")
        }
    }

    @Test func aNewMountReadsWhatTheLastOneFetched() async throws {
        defer { area.remove() }
        let first = try served()
        try fill(model)
        #expect(first.end() == 0)
        // From here on the bucket has another generation: a single fetch would fail.
        try await StoredSnapshot(area.objects).put("model.safetensors", [1, 2, 3])
        let second = try served()
        #expect(try isRight(model))
        #expect(second.end() == 0)
    }

    @Test(arguments: SeedSlice.first(5, ofSoak: 100))
    func aMountThatIsKilledWhileItFillsLeavesNothingWrong(seed: UInt64) throws {
        defer { area.remove() }
        var random = SeededRandom(seed: seed)
        let first = try served(nil, ["--keeper", "off"])
        let file = try OpenedFile(model)
        for block in 0..<Int.random(in: 1...20, using: &random) { _ = try file.read(at: block << 20, 1 << 20) }
        first.end(SIGKILL)
        let second = try served()
        #expect(try isRight(model), "seed \(seed)")
        try fill(model)
        #expect(second.end() == 0)
    }

    @Test func twoMountsShareADirectoryAlsoWhenOneIsKilled() throws {
        defer { area.remove() }
        let other = area.root + "/other"
        try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
        let first = try served(nil, ["--keeper", "off"])
        let second = try served(other)
        defer { if ServedMount.isMounted(other) { second.end(SIGTERM) } }
        let results = ManagedCounter()
        for (path, blocks) in [(model, 12), (other + "/model.safetensors", 25)] {
            let thread = Thread {
                guard let file = try? OpenedFile(path) else { return results.finish(ok: false) }
                let isRight = (0..<blocks).allSatisfy { block in
                    let range = block << 20..<min((block + 1) << 20, Self.weights.count)
                    guard let bytes = try? file.read(at: range.lowerBound, 1 << 20) else { return false }
                    return isSame(bytes, Self.weights[range])
                }
                results.finish(ok: isRight)
            }
            thread.start()
        }
        #expect(results.wait(for: 2) == 2)
        first.end(SIGKILL)
        try fill(other + "/model.safetensors")
        #expect(second.end() == 0)
    }

    // MARK: The disk

    /// A small filesystem for the cache; taken away again with it.
    private final class SmallDisk {
        let path: String

        init(_ path: String, _ options: String) throws {
            self.path = path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            let done = try Command.run("mount", ["-t", "tmpfs", "-o", options, "penstock-test", path])
            guard done.status == 0 else { throw ServedMount.Failed(description: "no small disk: \(done.errors)") }
        }

        func makeReadOnly() throws {
            #expect(try Command.run("mount", ["-o", "remount,ro", path]).status == 0)
        }

        func remove() { _ = try? Command.run("umount", ["--lazy", path]) }
    }

    @Test(arguments: ["size=8m", "size=64m,nr_inodes=3", "size=64m,nr_inodes=4"])
    func aFullDiskIsNoErrorToReaders(options: String) throws {
        defer { area.remove() }
        let disk = try SmallDisk(cache, options)
        defer { disk.remove() }
        let mount = try served()
        for _ in 0..<2 { #expect(try isRight(model)) }
        #expect(try OpenedFile(area.mountPoint + "/config.json").read(at: 0, 10) == Array("{}".utf8))
        let lines = mount.log.split(separator: "\n").filter { $0.contains("the cache's disk failed") }
        #expect(lines.count <= 2, "\(mount.log)")
        if options.contains("nr_inodes") { #expect(!lines.isEmpty) }
        #expect(mount.end() == 0)
    }

    @Test func aDiskThatTurnsReadOnlyIsNoErrorToReaders() throws {
        defer { area.remove() }
        let disk = try SmallDisk(cache, "size=64m")
        defer { disk.remove() }
        let mount = try served()
        try disk.makeReadOnly()
        #expect(try isRight(model))
        #expect(mount.log.contains("the cache's disk failed"))
        #expect(mount.end() == 0)
    }

    @Test func aDirectoryThatCannotBeMadeIsAFaultOfTheSettings() throws {
        defer { area.remove() }
        let ended = try Command.penstock(
            ["mount", area.source, area.mountPoint, "--cache-dir", area.objects + "/model.safetensors/no"]
        )
        #expect(ended.status == 2)
        #expect(ended.errors.contains("cache directory"))
    }
}

/// Bytes of blocks that are on the disk, in a directory of the cache.
func bytesKept(in cache: String) -> Int {
    let folder = cache + "/blocks-1"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasSuffix(".data") }.reduce(0) { sum, name in
        var status = stat()
        return sum + (stat("\(folder)/\(name)", &status) == 0 ? Int(status.st_blocks) * 512 : 0)
    }
}
