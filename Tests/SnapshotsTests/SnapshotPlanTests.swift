import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import Testing

struct SnapshotPlanTests {
    static let origin = SnapshotManifest.Source(
        endpoint: "https://hub.example",
        repository: "acme/tiny",
        type: .model,
        revision: "main",
        commit: String(repeating: "a", count: 40)
    )

    static func path(_ text: String) throws -> SafePath { try SafePath(text) }

    static func file(_ text: String, _ content: String) throws -> SourceFile {
        let bytes = Array(content.utf8)
        return SourceFile(path: try path(text), size: bytes.count, hash: .sha256(SHA256Digest.of(bytes)))
    }

    static func object(
        _ name: String,
        _ content: String,
        generation: Int64 = 1,
        metadata: [String: String] = [:]
    ) throws -> ObjectAttributes {
        let bytes = Array(content.utf8)
        return ObjectAttributes(
            name: try ObjectName(name),
            generation: Generation(generation),
            size: bytes.count,
            crc32c: CRC32C.of(bytes),
            metadata: metadata
        )
    }

    static func manifest(_ files: [(String, String, Int64)]) throws -> SnapshotManifest {
        try SnapshotManifest(
            source: origin,
            created: UnixTime(seconds: 1),
            operation: .random(),
            files: files.map { name, content, generation in
                let bytes = Array(content.utf8)
                return SnapshotManifest.File(
                    path: try path(name),
                    size: bytes.count,
                    sha256: SHA256Digest.of(bytes),
                    crc32c: CRC32C.of(bytes),
                    generation: Generation(generation),
                    fileClass: .lfs
                )
            }
        )
    }

    static func plan(
        _ files: [SourceFile],
        _ objects: [ObjectAttributes],
        _ previous: SnapshotManifest? = nil,
        overwrite: Bool = false,
        distrusted: Set<SafePath> = []
    ) -> SnapshotPlan {
        SnapshotPlan(
            origin: origin,
            filters: .init(),
            files: files,
            listing: DestinationListing(objects, PenstockPaths(ObjectPrefix("p"))),
            previous: previous,
            overwrite: overwrite,
            distrusted: distrusted
        )
    }

    static func name(_ step: SnapshotPlan.Step) -> String {
        switch step {
        case .keep: "keep"
        case .copy: "copy"
        case .prove: "prove"
        case .convey: "convey"
        }
    }

    @Test func anEmptyDestinationIsConveyed() throws {
        let plan = Self.plan([try Self.file("a", "one")], [])
        #expect(plan.entries.map { Self.name($0.step) } == ["convey"])
        #expect(plan.conflicts.isEmpty && !plan.isComplete)
    }

    @Test func whatTheManifestProvesIsKept() throws {
        let plan = Self.plan(
            [try Self.file("a", "one")],
            [try Self.object("p/a", "one")],
            try Self.manifest([("a", "one", 1)])
        )
        #expect(plan.entries.map { Self.name($0.step) } == ["keep"])
        #expect(plan.isComplete)
    }

    @Test func aGenerationThatTheManifestDoesNotNameIsProvenAnew() throws {
        let plan = Self.plan(
            [try Self.file("a", "one")],
            [try Self.object("p/a", "two", generation: 2)],
            try Self.manifest([("a", "one", 1)])
        )
        #expect(plan.entries.map { Self.name($0.step) } == ["prove"])
        #expect(!plan.isComplete)
    }

    @Test func aRenamedFileIsCopiedInTheBucket() throws {
        let plan = Self.plan(
            [try Self.file("b", "one")],
            [try Self.object("p/a", "one")],
            try Self.manifest([("a", "one", 1)])
        )
        #expect(plan.entries.map { Self.name($0.step) } == ["copy"])
        #expect(plan.dropped.map(\.path.value) == ["a"])
    }

    @Test func aStrangersFileOfAnotherSizeIsAConflictUnlessOverwritten() throws {
        let files = [try Self.file("a", "one")]
        let objects = [try Self.object("p/a", "longer")]
        #expect(Self.plan(files, objects).conflicts.count == 1)
        let forced = Self.plan(files, objects, overwrite: true)
        #expect(forced.conflicts.isEmpty)
        #expect(forced.entries.first?.standing?.generation == Generation(1))
    }

    @Test func aFileOfOursThatIsOutOfDateIsReplaced() throws {
        let plan = Self.plan(
            [try Self.file("a", "newer")],
            [try Self.object("p/a", "one")],
            try Self.manifest([("a", "one", 1)])
        )
        #expect(plan.entries.map { Self.name($0.step) } == ["convey"])
        #expect(plan.conflicts.isEmpty)
    }

    @Test func aNameThatIsFileAndDirectoryIsAConflict() throws {
        let below = Self.plan([try Self.file("a/b", "x")], [try Self.object("p/a", "y")])
        #expect(below.conflicts.count == 1)
        let above = Self.plan([try Self.file("a", "x")], [try Self.object("p/a/b", "y")])
        #expect(above.conflicts.count == 1)
    }

    @Test func spellingsOfOneTextDoNotCollide() throws {
        let plan = Self.plan([try Self.file("\u{E9}/b", "x")], [try Self.object("p/e\u{301}", "y")])
        #expect(plan.conflicts.isEmpty)
    }

    @Test func distrustedFilesAreNotKept() throws {
        let plan = Self.plan(
            [try Self.file("a", "one")],
            [try Self.object("p/a", "one")],
            try Self.manifest([("a", "one", 1)]),
            distrusted: [try Self.path("a")]
        )
        #expect(plan.entries.map { Self.name($0.step) } == ["prove"])
        #expect(!plan.isComplete && plan.conflicts.isEmpty)
    }

    @Test func whatEarlierRunsLeftIsFoundByContent() throws {
        let file = try Self.file("a", "one")
        let left = "p/.penstock/parts/\(file.hash.transfer)/7/0000000000000000"
        let plan = Self.plan([file], [try Self.object(left, "one")])
        #expect(plan.remains[file.hash.transfer]?.parts.count == 1)
        #expect(PlanSummary(plan).resumedBytes == 3)
    }
}
