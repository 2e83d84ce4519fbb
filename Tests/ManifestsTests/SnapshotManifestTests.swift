import Checksums
import Foundation
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct SnapshotManifestTests {
    @Test(arguments: 0..<30) func comesBackAsItWasWritten(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let manifest = try Sample.manifest(&random, files: Int(random.next() % 40))
        let bytes = try manifest.encoded()
        let read = try SnapshotManifest(decoding: bytes)
        #expect(read == manifest)
        #expect(try read.encoded() == bytes)
    }

    @Test func filesStandInByteOrderAndAreFound() throws {
        var random = SeededRandom(seed: 1)
        let manifest = try Sample.manifest(&random, files: 50)
        #expect(manifest.files.map(\.path) == manifest.files.map(\.path).sorted())
        for file in manifest.files { #expect(manifest.file(at: file.path) == file) }
        #expect(manifest.file(at: try SafePath("no-such-file")) == nil)
    }

    @Test func itsSealIsTheHashOfTheContentWithoutIt() throws {
        var random = SeededRandom(seed: 2)
        let bytes = try Sample.manifest(&random).encoded()
        let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        let content = Array(bytes.dropLast(78)) + Array("}".utf8)
        #expect(object["sha256"] as? String == SHA256Digest.of(content).description)
    }

    @Test func spellingsOfOneTextAreTwoFiles() throws {
        let manifest = try manifest(["e\u{301}.bin", "\u{E9}.bin"])
        #expect(manifest.files.count == 2)
        #expect(try SnapshotManifest(decoding: manifest.encoded()) == manifest)
    }

    @Test(arguments: [
        (["a", "a"], "twice"),
        (["a", "a/b"], "both a file and a directory"),
        (["a", "a-b", "a/b"], "both a file and a directory"),
        (["x/y/z/w", "x/y"], "both a file and a directory"),
        ([".penstock/manifest.json"], "Penstock's own"),
        ([".penstock"], "Penstock's own"),
    ])
    func refusesNamesThatCannotStandTogether(paths: [String], complaint: String) throws {
        let error = #expect(throws: ManifestError.self) { try manifest(paths) }
        #expect(error?.code == .invalid)
        #expect(error?.description.contains(complaint) == true)
    }

    @Test func aNameLikeOursIsNotOurs() throws {
        #expect(try manifest([".penstock2/a", "b/.penstock/c"]).files.count == 2)
    }

    @Test(arguments: [-1, Int.min, SnapshotManifest.maximumFileSize + 1, Int.max])
    func refusesSizesNoObjectHas(size: Int) throws {
        #expect(throws: ManifestError.self) { try manifest(["a"], size: size) }
    }

    @Test(arguments: [
        "ftp://host", "https://user:secret@host", "https://host/?token=x", "", "https://host/\u{7}",
    ])
    func refusesASourceThatIsNoPlainURL(endpoint: String) throws {
        let error = #expect(throws: ManifestError.self) { try manifest(["a"], endpoint: endpoint) }
        #expect(error?.description.contains("secret") == false)
    }

    @Test(arguments: ["main", "", String(repeating: "g", count: 40), String(repeating: "A", count: 40)])
    func refusesACommitThatIsNone(commit: String) throws {
        #expect(throws: ManifestError.self) { try manifest(["a"], commit: commit) }
    }

    @Test func anUnpublishedFileIsNotWritten() throws {
        var random = SeededRandom(seed: 3)
        let draft = try Sample.manifest(&random, generations: false)
        #expect(throws: ManifestError.self) { try draft.encoded() }
    }

    @Test func completingGivesEveryFileItsGeneration() throws {
        var random = SeededRandom(seed: 4)
        let draft = try Sample.manifest(&random, generations: false)
        var generations: [SafePath: Generation] = [:]
        for (index, file) in draft.files.enumerated() { generations[file.path] = Generation(Int64(index + 1)) }
        let whole = try draft.completed(with: generations)
        #expect(whole.files.map(\.generation) == draft.files.map { generations[$0.path] })
        generations[draft.files[2].path] = nil
        #expect(throws: ManifestError.self) { try draft.completed(with: generations) }
    }

    @Test func aThousandDirectoriesDeepIsFine() throws {
        let deep = Array(repeating: "d", count: 511).joined(separator: "/")
        #expect(try manifest([deep]).files.count == 1)
    }

    private func manifest(
        _ paths: [String],
        size: Int = 1,
        endpoint: String = "https://hub",
        commit: String = String(repeating: "0", count: 40)
    ) throws -> SnapshotManifest {
        var random = SeededRandom(seed: 0)
        let digest = try Sample.sha256(&random)
        let files = try paths.map {
            SnapshotManifest.File(
                path: try SafePath($0),
                size: size,
                sha256: digest,
                crc32c: .empty,
                generation: Generation(1),
                fileClass: .lfs
            )
        }
        return try SnapshotManifest(
            source: .init(endpoint: endpoint, repository: "a/b", type: .model, revision: "main", commit: commit),
            created: UnixTime(seconds: 0),
            operation: .random(using: &random),
            files: files
        )
    }
}
