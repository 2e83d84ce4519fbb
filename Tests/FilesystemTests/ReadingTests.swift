import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct ReadingTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 11)
        return random.bytes(2_500_000)
    }()

    @Test func aFileReadsAsItsObject() async throws {
        let snapshot = try PlantedSnapshot(["w.bin": bytes, "empty": []])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        try await rig.open(node)
        var random = SeededRandom(seed: 2)
        for _ in 0..<50 {
            let offset = Int.random(in: 0..<bytes.count, using: &random)
            let count = Int.random(in: 0...1 << 20, using: &random)
            #expect(try await rig.read(node, offset, count) == Array(bytes[offset..<min(offset + count, bytes.count)]))
        }
        #expect(try await rig.read(node, bytes.count, 10).isEmpty)
        #expect(try await rig.read(node, bytes.count + 5, 10).isEmpty)
        await #expect(throws: FilesystemError.invalidArgument) { try await rig.read(node, 0, 1 << 21) }
        let empty = try await rig.walk("empty").node
        try await rig.open(empty)
        #expect(try await rig.read(empty, 0, 10).isEmpty)
    }

    @Test func oneBitOfRotIsAnErrorAndTheRestOfTheFileIsNot() async throws {
        let snapshot = try PlantedSnapshot(["w.bin": bytes])
        snapshot.bucket.flipBit("w.bin", at: 2_000_000 * 8)
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        try await rig.open(node)
        await #expect(throws: FilesystemError.inputOutput) { try await rig.read(node, 1_990_000, 20_000) }
        #expect(try await rig.read(node, 0, 100_000) == Array(bytes[..<100_000]))
        #expect(rig.lines.containing("wrong bytes").count >= 2)
        #expect(rig.lines.containing("1966080").count >= 1)
    }

    @Test func aReplacedFileIsReadFromTheCopyKeptAside() async throws {
        let snapshot = try PlantedSnapshot(["w.bin": bytes])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let aside = try PenstockPaths(ObjectPrefix("")).replaced(SHA256Digest.of(bytes)).value
        try snapshot.bucket.plant(aside, bytes)
        try snapshot.bucket.plant("w.bin", [1, 2, 3])
        let node = try await rig.walk("w.bin").node
        try await rig.open(node)
        for offset in [0, 1 << 20, 2_400_000] {
            #expect(try await rig.read(node, offset, 1000) == Array(bytes[offset..<offset + 1000]))
        }
        #expect(rig.lines.containing("kept aside").count == 1)
    }

    @Test func aReplacedFileWithoutACopyIsStaleAndNeverAMix() async throws {
        let snapshot = try PlantedSnapshot(["w.bin": bytes])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        try await rig.open(node)
        #expect(try await rig.read(node, 0, 1000) == Array(bytes[..<1000]))
        let aside = try PenstockPaths(ObjectPrefix("")).replaced(SHA256Digest.of(bytes)).value
        // Something else under the copy's name is not believed.
        try snapshot.bucket.plant(aside, Array(bytes.reversed()))
        try snapshot.bucket.plant("w.bin", Array(bytes.reversed()))
        await #expect(throws: FilesystemError.stale) { try await rig.read(node, 2_400_000, 1000) }
        #expect(try await rig.read(node, 10, 1000) == Array(bytes[10..<1010]))
    }

    @Test func openingASupersededInodeIsStaleAndTheNameFindsTheNewOne() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("f", [1])
        let rig = try Rig(bucket: bucket)
        let old = try await rig.walk("f").node
        try bucket.plant("f", [1, 2])
        await #expect(throws: FilesystemError.stale) { try await rig.open(old) }
        let new = try await rig.walk("f")
        #expect(new.node != old)
        try await rig.open(new.node)
        #expect(try await rig.read(new.node, 0, 10) == [1, 2])
        await #expect(throws: FilesystemError.stale) { try await rig.open(old) }
        bucket.remove("f")
        await #expect(throws: FilesystemError.stale) { try await rig.open(new.node) }
    }

    @Test func anInodeThatIsForgottenIsStale() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("f", [1])
        let rig = try Rig(bucket: bucket)
        let node = try await rig.walk("f").node
        rig.filesystem.forget(node, 1)
        #expect(throws: FilesystemError.stale) { try rig.filesystem.attributes(node) }
        await #expect(throws: FilesystemError.stale) { try await rig.open(node) }
        #expect(rig.filesystem.inodeCount == 1)
    }

    @Test func directoriesAreNotOpenedAsFiles() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("d/f", [1])
        let rig = try Rig(bucket: bucket)
        let node = try await rig.walk("d").node
        await #expect(throws: FilesystemError.isDirectory) { try await rig.open(node) }
    }

    @Test func extendedAttributesTellWhatAFileIs() async throws {
        let snapshot = try PlantedSnapshot(["w.bin": bytes])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        let all = try rig.filesystem.extendedAttributes(node)
        let values = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0.value) })
        #expect(values["user.penstock.sha256"] == "\(SHA256Digest.of(bytes))")
        #expect(values["user.penstock.crc32c"] == "\(CRC32C.of(bytes))")
        #expect(values["user.penstock.generation"] == "\(snapshot.bucket.objects.last?.generation.value ?? 0)")
        #expect(values["user.penstock.commit"] == snapshot.manifest.source.commit)
        #expect(values["user.penstock.socket"] == "/run/here")
        let root = try rig.filesystem.extendedAttributes(.root).map(\.name)
        #expect(root == ["user.penstock.socket", "user.penstock.source"])
    }
}
