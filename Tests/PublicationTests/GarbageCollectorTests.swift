import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Testing

struct GarbageCollectorTests {
    static let now = UnixTime(seconds: 1_000_000)

    static func object(_ name: String, age: Int = 0) throws -> ObjectAttributes {
        ObjectAttributes(
            name: try ObjectName("p/.penstock/\(name)"),
            generation: Generation(1),
            size: 1,
            crc32c: .empty,
            updated: UnixTime(seconds: 1_000_000 - Int64(age))
        )
    }

    static func garbage(_ objects: [ObjectAttributes], _ manifest: SnapshotManifest? = nil) -> [String] {
        GarbageCollector.garbage(
            DestinationListing(objects, PenstockPaths(ObjectPrefix("p"))),
            manifest,
            keepReplaced: .seconds(3600),
            now: now
        )
        .map { String($0.name.value.dropFirst("p/.penstock/".count)) }
    }

    @Test func leftoversOfTransfersGo() throws {
        let names = ["parts/t/7/0000000000000000", "staged/t/7", "state/t/0000000000000000"]
        #expect(Self.garbage(try names.map { try Self.object($0) }) == names)
    }

    @Test func anIntentKeepsWhatFinishingItNeeds() throws {
        let names = ["intent.json", "parts/t/7/0000000000000000", "staged/t/7", "crc/00"]
        #expect(Self.garbage(try names.map { try Self.object($0) }) == [])
    }

    @Test func replacedFilesGoWhenTheirTimeIsOver() throws {
        let old = try Self.object("replaced/aa", age: 3600)
        let new = try Self.object("replaced/bb", age: 3599)
        #expect(Self.garbage([old, new]) == ["replaced/aa"])
    }

    /// A mount without a lease may be writing: only what is older than any upload session goes, whatever else stands there.
    @Test func piecesOfMountsGoWhenTheyAreOlderThanAnyUploadSession() throws {
        let week = 7 * 86_400
        let objects = [
            try Self.object("written/0a/1-0-1", age: week), try Self.object("written/0b/1-0-1", age: week - 1),
            try Self.object("written/0c/2-9-join-1", age: 2 * week), try Self.object("intent.json"),
        ]
        #expect(Self.garbage(objects) == ["written/0a/1-0-1", "written/0c/2-9-join-1"])
        var timeless = objects[0]
        timeless.updated = nil
        #expect(Self.garbage([timeless]) == [])
    }

    /// What a mount has parked may be all that is left of a file, and its mount may come back after a year.
    @Test func whatMountsHaveParkedIsNeverGarbage() throws {
        let objects = [
            try Self.object("parked/0a/1", age: 365 * 86_400), try Self.object("written", age: 365 * 86_400),
        ]
        #expect(Self.garbage(objects) == [])
    }

    @Test func tablesGoWithTheLastContentThatNeedsThem() throws {
        let wanted = SHA256Digest.of([1])
        let file = SnapshotManifest.File(
            path: try SafePath("a"),
            size: 1,
            sha256: wanted,
            crc32c: CRC32C.of([1]),
            generation: Generation(1),
            fileClass: .lfs
        )
        let manifest = try SnapshotManifest(
            source: .init(
                endpoint: "https://hub.example",
                repository: "acme/tiny",
                type: .model,
                revision: "main",
                commit: String(repeating: "a", count: 40)
            ),
            created: Self.now,
            operation: .random(),
            files: [file]
        )
        let kept = String(repeating: "b", count: 64)
        let objects = [
            try Self.object("crc/\(wanted)"), try Self.object("crc/\(kept)"), try Self.object("crc/cc"),
            try Self.object("replaced/\(kept)"),
        ]
        #expect(Self.garbage(objects, manifest) == ["crc/cc"])
    }
}
