import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// What is fetched for models that nobody asked for yet, by their files' names and headers.
struct ModelFileTests {
    private final class Requests: Sendable {
        private let all = Lock([(name: String, range: ByteRange)]())
        func note(_ name: ObjectName, _ range: ByteRange) { all.withLock { $0.append((name.value, range)) } }
        func ranges(_ name: String) -> [ByteRange] { all.withLock { $0.filter { $0.name == name }.map(\.range) } }
    }

    private let requests = Requests()

    private func rig(_ files: [String: [UInt8]]) throws -> Rig {
        let snapshot = try PlantedSnapshot(files)
        let requests = requests
        snapshot.bucket.onRead { name, range, _ in requests.note(name, range) }
        return try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest, budget: 64 << 20)
    }

    private func readWhole(_ rig: Rig, _ path: String, _ count: Int) async throws {
        let node = try await rig.walk(path).node
        try await rig.open(node)
        for start in stride(from: 0, to: count, by: 1 << 20) { _ = try await rig.read(node, start, 1 << 20) }
    }

    /// Waits until something is so: what happens in the background tells nobody.
    private func eventually(_ condition: () -> Bool) async -> Bool {
        for _ in 0..<200_000 {
            if condition() { return true }
            await Task.yield()
        }
        return condition()
    }

    @Test func theIndexTellsWhichShardIsNext() async throws {
        let size = 6 << 20
        let index = """
            {"weight_map":{"a":"alpha.safetensors","b":"gamma.safetensors"}}
            """
        var random = SeededRandom(seed: 1)
        let rig = try rig([
            "model.safetensors.index.json": Array(index.utf8), "alpha.safetensors": random.bytes(size),
            "beta.safetensors": random.bytes(size), "gamma.safetensors": random.bytes(size),
        ])
        try await readWhole(rig, "model.safetensors.index.json", index.utf8.count)
        let isKnown = await eventually { rig.filesystem.state.withLock { !$0.shards.isEmpty } }
        #expect(isKnown)
        try await readWhole(rig, "alpha.safetensors", size)
        let isBegun = await eventually { !requests.ranges("gamma.safetensors").isEmpty }
        #expect(isBegun)
        #expect(requests.ranges("beta.safetensors").isEmpty)
    }

    @Test func anIndexThatIsNoneChangesNothing() async throws {
        var random = SeededRandom(seed: 2)
        let nonsense = random.bytes(5000)
        let rig = try rig(["model.safetensors.index.json": nonsense])
        let node = try await rig.walk("model.safetensors.index.json").node
        try await rig.open(node)
        #expect(try await rig.read(node, 0, 5000) == nonsense)
        #expect(rig.filesystem.state.withLock { $0.shards.isEmpty })
    }

    @Test func theTailOfAnArchiveComesWithItsFirstRead() async throws {
        var random = SeededRandom(seed: 3)
        let size = 9 << 20
        let rig = try rig(["weights.pt": random.bytes(size)])
        let node = try await rig.walk("weights.pt").node
        try await rig.open(node)
        _ = try await rig.read(node, 0, 4096)
        let isFetched = await eventually { requests.ranges("weights.pt").contains { $0.end == size } }
        #expect(isFetched)
    }

    @Test func aHeaderThatIsDamagedLeavesTheFileAsItIs() async throws {
        var random = SeededRandom(seed: 4)
        for name in ["m.safetensors", "m.gguf", "m.pt", "__0_0.distcp"] {
            let bytes = random.bytes(3 << 20)
            let rig = try rig([name: bytes])
            let node = try await rig.walk(name).node
            try await rig.open(node)
            for _ in 0..<30 {
                let offset = Bool.random(using: &random) ? 0 : Int.random(in: 0..<bytes.count, using: &random)
                let read = try await rig.read(node, offset, 100_000)
                #expect(read == Array(bytes[offset..<min(offset + 100_000, bytes.count)]))
            }
        }
    }
}
