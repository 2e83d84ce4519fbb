import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct CheckpointRecordTests {
    private func record(
        _ paths: [String],
        name: String = "checkpoint-5",
        size: Int = 1,
        generation: Int64 = 9,
        rank: Int? = nil,
        step: Int? = nil,
        metrics: [String: Double] = [:],
        ranks: Int = 1
    ) throws -> CheckpointRecord {
        try CheckpointRecord(
            name: CheckpointName(name),
            created: UnixTime(seconds: 0),
            operation: try #require(OperationID("a")),
            step: step,
            metrics: metrics,
            ranks: ranks,
            files: paths.map {
                CheckpointRecord.File(
                    path: try SafePath($0),
                    size: size,
                    crc32c: .empty,
                    generation: Generation(generation),
                    rank: rank
                )
            }
        )
    }

    @Test func aSingleFileIsACheckpointToo() throws {
        let record = try record(["last.ckpt"], name: "last.ckpt")
        #expect(try CheckpointRecord(decoding: record.encoded()) == record)
    }

    @Test func refusesWhatIsNotTheCheckpoints() {
        #expect(throws: ManifestError.self) { try record([]) }
        #expect(throws: ManifestError.self) { try record(["checkpoint-50/a"]) }
        #expect(throws: ManifestError.self) { try record([".penstock/checkpoints/checkpoint-5/record.json"]) }
        #expect(throws: ManifestError.self) { try record(["checkpoint-5/a", "checkpoint-5/a"]) }
        #expect(throws: ManifestError.self) { try record(["checkpoint-5/a", "checkpoint-5/a/b"]) }
        #expect(throws: ManifestError.self) { try record(["checkpoint-5", "checkpoint-5/b"]) }
    }

    @Test func refusesNumbersOutOfBounds() {
        let paths = ["checkpoint-5/a"]
        #expect(throws: ManifestError.self) { try record(paths, size: -1) }
        #expect(throws: ManifestError.self) { try record(paths, size: 5 << 40 | 1) }
        #expect(throws: ManifestError.self) { try record(paths, generation: 0) }
        #expect(throws: ManifestError.self) { try record(paths, step: -1) }
        #expect(throws: ManifestError.self) { try record(paths, rank: 1) }
        #expect(throws: ManifestError.self) { try record(paths, ranks: 0) }
        #expect(throws: ManifestError.self) { try record(paths, metrics: ["loss": .nan]) }
        #expect(throws: ManifestError.self) { try record(paths, metrics: ["loss": .infinity]) }
        #expect(throws: ManifestError.self) { try record(paths, metrics: ["": 1]) }
        #expect(throws: ManifestError.self) { try record(paths, metrics: ["a\u{1B}[2J": 1]) }
    }

    @Test(arguments: ["", ".", "..", "a/b", "/a", ".penstock", "a\u{0}", "a\n", String(repeating: "x", count: 256)])
    func namesOfCheckpointsAreOneSafeSegment(name: String) {
        #expect(throws: ObjectStoreError.self) { try CheckpointName(name) }
    }

    @Test(arguments: ["", ".", "..", "a/b", "-a", "_a", ".a", "a b", "é", String(repeating: "x", count: 101)])
    func namesOfSavesArePlain(name: String) { #expect(SaveID(name) == nil) }

    @Test func everythingOfACheckpointStandsUnderItsName() throws {
        let paths = PenstockPaths(ObjectPrefix("run"))
        let name = try CheckpointName("checkpoint-5")
        let save = try #require(SaveID("job.1"))
        let own = [
            try paths.checkpointRecord(name), try paths.checkpointRemoval(name),
            try paths.checkpointShare(name, save, rank: 3),
            try paths.checkpointKept(name, SafePath("checkpoint-5/a"), Generation(7)),
        ]
        #expect(own.allSatisfy { $0.value.hasPrefix("run/.penstock/checkpoints/checkpoint-5/") })
        #expect(Set(own).count == own.count)
        #expect(own[2].value == "\(paths.checkpointShares(name, save))3")
    }
}
