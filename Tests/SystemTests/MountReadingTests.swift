import Checksums
import Foundation
import Glibc
import TestSupport
import Testing

/// What readers see through the kernel.
@Suite(.serialized) struct MountReadingTests {
    /// Not a multiple of anything, and larger than the memory that the mount is given.
    private static let weights: [UInt8] = {
        var random = SeededRandom(seed: 42)
        return random.bytes((40 << 20) + 12_345)
    }()

    private static let names = [
        "config.json", "d/e/f/deep", "sp ace", "naïve-ü", "日本語.bin", "-dash", "a\\b", "q\"uote", "semi;colon",
        String(repeating: "x", count: 255), ".hidden", "caf\u{e9}", "cafe\u{301}",
    ]

    private func served(_ arguments: [String] = ["--memory", "16M"]) async throws -> (MountArea, ServedMount) {
        let area = try MountArea()
        let files = Self.names.map { ($0, Array($0.utf8)) } + [("model.safetensors", Self.weights), ("empty", [])]
        try await StoredSnapshot(area.objects).publish(files)
        return (area, try ServedMount(area.source, at: area.mountPoint, arguments))
    }

    @Test func filesReadByteForByte() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        for name in Self.names {
            #expect(try OpenedFile(mount.mountPoint + "/" + name).read(at: 0, 1000) == Array(name.utf8), "\(name)")
        }
        #expect(try OpenedFile(mount.mountPoint + "/empty").read(at: 0, 10).isEmpty)
        let file = try OpenedFile(mount.mountPoint + "/model.safetensors")
        #expect(isSame(try file.read(at: 0, Self.weights.count + 10), Self.weights[...]))
        #expect(mount.end() == 0)
    }

    @Test func randomReadsAreRight() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let file = try OpenedFile(mount.mountPoint + "/model.safetensors")
        var random = SeededRandom(seed: 5)
        for _ in 0..<300 {
            let offset = Int.random(in: 0..<Self.weights.count, using: &random)
            let count = Int.random(in: 1...300_000, using: &random)
            let expected = Self.weights[offset..<min(offset + count, Self.weights.count)]
            #expect(isSame(try file.read(at: offset, count), expected))
        }
    }

    @Test func directReadsAreRight() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let file = try OpenedFile(mount.mountPoint + "/model.safetensors", O_RDONLY | OpenedFile.direct)
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 3 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        for offset in [0, 1 << 20, 5 << 19, 30 << 20] {
            let count = pread(file.descriptor, buffer, 3 << 20, off_t(offset))
            #expect(count == 3 << 20)
            let expected = Self.weights[offset..<offset + count]
            #expect(isSame(Array(UnsafeRawBufferPointer(start: buffer, count: count)), expected))
        }
    }

    @Test func mappedPagesAreRight() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let size = Self.weights.count
        var file: OpenedFile? = try OpenedFile(mount.mountPoint + "/model.safetensors")
        let memory = mmap(nil, size, PROT_READ, MAP_PRIVATE, file?.descriptor ?? -1, 0)
        // As the loaders do: the descriptor is closed before the first page is touched.
        file = nil
        let pages = try #require(memory == MAP_FAILED ? nil : memory)
        defer { munmap(pages, size) }
        var random = SeededRandom(seed: 9)
        let bytes = UnsafeRawBufferPointer(start: pages, count: size)
        for _ in 0..<200 {
            let offset = Int.random(in: 0..<size, using: &random)
            #expect(bytes[offset] == Self.weights[offset])
        }
        #expect(isSame(Array(bytes), Self.weights[...]))
    }

    @Test func eightReadersAtOnceAreRight() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let path = mount.mountPoint + "/model.safetensors"
        let counts = ManagedCounter()
        let threads = (0..<8 as Range<UInt64>).map { number in
            let thread = Thread {
                var random = SeededRandom(seed: number)
                guard let file = try? OpenedFile(path) else { return counts.finish(ok: false) }
                var isRight = true
                for round in 0..<40 {
                    let offset =
                        number % 2 == 0
                        ? round << 20 : Int.random(in: 0..<Self.weights.count, using: &random)
                    let expected = Self.weights[offset..<min(offset + 1 << 20, Self.weights.count)]
                    isRight = isRight && (try? isSame(file.read(at: offset, 1 << 20), expected)) == true
                }
                counts.finish(ok: isRight)
            }
            thread.start()
            return thread
        }
        #expect(counts.wait(for: threads.count) == threads.count)
    }

    @Test func directoriesAndAttributesAreWhatTheManifestSays() async throws {
        let (area, mount) = try await served(["--uid", "12", "--gid", "34"])
        defer { area.remove() }
        let listed = try FileManager.default.contentsOfDirectory(atPath: mount.mountPoint)
        let top = Self.names.map { $0.hasPrefix("d/") ? "d" : $0 } + ["model.safetensors", "empty"]
        #expect(Set(listed.map { Array($0.utf8) }) == Set(top.map { Array($0.utf8) }))
        var status = stat()
        #expect(stat(mount.mountPoint + "/model.safetensors", &status) == 0)
        #expect(status.st_size == Self.weights.count)
        #expect(status.st_mode == S_IFREG | 0o444)
        #expect(status.st_uid == 12 && status.st_gid == 34)
        #expect(status.st_mtim.tv_sec == 1_700_000_000)
        #expect(stat(mount.mountPoint + "/d/e", &status) == 0)
        #expect(status.st_mode == S_IFDIR | 0o555)
        for missing in ["/nothing", "/d/nothing", "/.penstock", "/.penstock/manifest.json", "/.penstock-local"] {
            #expect(failure { stat(mount.mountPoint + missing, &status) } == ENOENT, "\(missing)")
        }
        #expect(failure { stat(mount.mountPoint + "/empty/x", &status) } == ENOTDIR)
    }

    @Test func extendedAttributesAreShown() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let shown = try Command.run("getfattr", ["-d", mount.mountPoint + "/model.safetensors"]).output
        for line in [
            "user.penstock.sha256=\"\(SHA256Digest.of(Self.weights))\"",
            "user.penstock.crc32c=\"\(CRC32C.of(Self.weights))\"",
            "user.penstock.commit=\"\(String(repeating: "c0", count: 20))\"",
            "user.penstock.source=\"\(area.source)\"", "user.penstock.generation=\"",
        ] { #expect(shown.contains(line), "\(line) is not in \(shown)") }
        let missing = try Command.run("getfattr", ["-n", "user.nothing", mount.mountPoint + "/empty"])
        #expect(missing.status != 0)
    }

    @Test func whatWouldChangeAnythingIsRefused() async throws {
        let (area, mount) = try await served()
        defer { area.remove() }
        let file = mount.mountPoint + "/config.json"
        #expect(failure { open(file, O_WRONLY) } == EROFS)
        #expect(failure { open(file, O_RDWR | O_TRUNC) } == EROFS)
        #expect(failure { open(mount.mountPoint + "/new", O_WRONLY | O_CREAT, 0o644) } == EROFS)
        #expect(failure { unlink(file) } == EROFS)
        #expect(failure { mkdir(mount.mountPoint + "/new", 0o755) } == EROFS)
        #expect(failure { rmdir(mount.mountPoint + "/d") } == EROFS)
        #expect(failure { rename(file, mount.mountPoint + "/other") } == EROFS)
        #expect(failure { symlink(file, mount.mountPoint + "/link") } == EROFS)
        #expect(failure { link(file, mount.mountPoint + "/link") } == EROFS)
        #expect(failure { chmod(file, 0o777) } == EROFS)
        #expect(failure { truncate(file, 0) } == EROFS)
        #expect(try Command.run("setfattr", ["-n", "user.a", "-v", "b", file]).status != 0)
    }
}

/// Counts threads that have ended well.
final class ManagedCounter: @unchecked Sendable {  // the condition protects both counts
    private let condition = NSCondition()
    private var ended = 0
    private var good = 0

    func finish(ok: Bool) {
        condition.lock()
        ended += 1
        good += ok ? 1 : 0
        condition.broadcast()
        condition.unlock()
    }

    /// Waits until so many have ended; how many of them ended well.
    func wait(for count: Int) -> Int {
        condition.lock()
        defer { condition.unlock() }
        while ended < count { condition.wait() }
        return good
    }
}
