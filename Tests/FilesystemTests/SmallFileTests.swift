import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct SmallFileTests {
    /// Every read of content that the bucket served, in order.
    private final class Requests: Sendable {
        private let all = Lock([String]())
        func note(_ name: ObjectName) { all.withLock { $0.append(name.value) } }
        var names: [String] { all.withLock { $0 } }
        var counts: [String: Int] { names.reduce(into: [:]) { $0[$1, default: 0] += 1 } }
    }

    private let requests = Requests()
    private let files: [String: [UInt8]]

    init() {
        var random = SeededRandom(seed: 3)
        files = Dictionary(
            uniqueKeysWithValues: (0..<120).map { index in
                let number = String(1000 + index)
                return ("data/f\(number).bin", random.bytes(index % 10 == 0 ? 300_000 : 65_536))
            }
        )
    }

    private func rig(budget: Int = 64 << 20) throws -> Rig {
        let snapshot = try PlantedSnapshot(files)
        let requests = requests
        snapshot.bucket.onRead { name, _, _ in requests.note(name) }
        return try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest, budget: budget)
    }

    private func readWhole(_ rig: Rig, _ path: String) async throws {
        let node = try await rig.walk(path).node
        try await rig.open(node)
        let bytes = try #require(files[path])
        for start in stride(from: 0, to: bytes.count, by: 131_072) {
            let piece = try await rig.read(node, start, 131_072)
            #expect(piece == Array(bytes[start..<min(start + 131_072, bytes.count)]))
        }
        rig.filesystem.release(node)
        rig.filesystem.forget(node, 1)
    }

    @Test func filesReadInOrderTakeOneRequestEach() async throws {
        let rig = try rig()
        for path in files.keys.sorted() { try await readWhole(rig, path) }
        #expect(requests.counts == files.mapValues { _ in 1 })
    }

    @Test func theNextFilesAreFetchedBeforeTheyAreOpened() async throws {
        let rig = try rig()
        for path in files.keys.sorted().prefix(5) { try await readWhole(rig, path) }
        #expect(rig.filesystem.state.withLock { $0.ahead.count } >= 8)
        #expect(Set(requests.names).isSubset(of: Set(files.keys.sorted().prefix(5 + 16))))
    }

    @Test func filesReadInRandomOrderAreNotFetchedBeforeTheyAreOpened() async throws {
        let rig = try rig()
        var random = SeededRandom(seed: 8)
        for path in files.keys.sorted().shuffled(using: &random).prefix(40) { try await readWhole(rig, path) }
        #expect(requests.names.count <= 44)
        #expect(rig.filesystem.state.withLock { $0.ahead.count } <= 8)
    }

    @Test func littleMemoryMeansFewFilesAhead() async throws {
        let rig = try rig(budget: 8 << 20)
        for path in files.keys.sorted() { try await readWhole(rig, path) }
        #expect(requests.counts.values.reduce(0, +) <= 150)
    }

    @Test func aFileThatIsReplacedWhileItIsAheadIsStaleOrOld() async throws {
        let rig = try rig()
        let paths = files.keys.sorted()
        for path in paths.prefix(4) { try await readWhole(rig, path) }
        // It may have been fetched: then its bytes are those of the manifest, whatever stands there now.
        try rig.bucket.plant(paths[5], [1, 2, 3])
        try rig.bucket.plant(paths[100], [1, 2, 3])
        try await readWhole(rig, paths[4])
        let gone = try await rig.walk(paths[100]).node
        try await rig.open(gone)
        await #expect(throws: FilesystemError.stale) { try await rig.read(gone, 0, 100) }
        let node = try await rig.walk(paths[5]).node
        try await rig.open(node)
        let bytes = try? await rig.read(node, 0, 1000)
        #expect(bytes == nil || bytes == files[paths[5]].map { Array($0.prefix(1000)) })
    }
}
