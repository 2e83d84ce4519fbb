import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport

extension Sample {
    static func checkpoint(_ random: inout SeededRandom) throws -> CheckpointRecord {
        let name = try CheckpointName("checkpoint-\(random.next() % 1000)")
        let isShared = Bool.random(using: &random)
        return try CheckpointRecord(
            name: name,
            created: UnixTime(nanoseconds: Int64(random.next() % 4_000_000_000_000_000_000)),
            operation: .random(using: &random),
            step: Bool.random(using: &random) ? Int(random.next() % (1 << 53)) : nil,
            metrics: ["loss": Double(random.next() % 1000) / 7, "eval/accuracy \"é\"": -0.25, "count": 3],
            writer: Bool.random(using: &random) ? "hf-trainer" : nil,
            ranks: isShared ? 4 : 1,
            save: isShared ? SaveID("job-7.0.\(random.next() % 1000)") : nil,
            files: checkpointFiles(&random, of: name, ranks: isShared ? 4 : 1)
        )
    }

    static func checkpointShare(_ random: inout SeededRandom) throws -> CheckpointShare {
        let name = try CheckpointName("step_\(random.next() % 1000)")
        guard let save = SaveID("job-\(random.next() % 9)") else { throw SampleError.notADigest }
        return try CheckpointShare(
            name: name,
            save: save,
            rank: Int(random.next() % 4),
            ranks: 4,
            operation: .random(using: &random),
            files: checkpointFiles(&random, of: name, ranks: 4)
        )
    }

    static func checkpointRemoval(_ random: inout SeededRandom) throws -> CheckpointRemoval {
        let name = try CheckpointName("日本-\(random.next() % 1000)")
        let files = try checkpointFiles(&random, of: name, ranks: 1)
        return try CheckpointRemoval(
            name: name,
            created: UnixTime(seconds: Int64(random.next() % 4_000_000_000)),
            operation: .random(using: &random),
            record: Bool.random(using: &random) ? generation(&random) : nil,
            files: files.map { CheckpointRemoval.File(path: $0.path, generation: $0.generation) }
        )
    }

    private static func checkpointFiles(
        _ random: inout SeededRandom,
        of name: CheckpointName,
        ranks: Int
    ) throws -> [CheckpointRecord.File] {
        var files: [CheckpointRecord.File] = []
        for index in 0..<4 {
            let directory = ["", "sub/", "e\u{301}/", "\u{E9}/"].randomElement(using: &random) ?? ""
            files.append(
                CheckpointRecord.File(
                    path: try SafePath("\(name)/\(directory)file-\(index).bin"),
                    size: Int(random.next() % (5 << 40)),
                    crc32c: CRC32C(UInt32(truncatingIfNeeded: random.next())),
                    generation: generation(&random),
                    rank: Bool.random(using: &random) ? Int(random.next() % UInt64(ranks)) : nil
                )
            )
        }
        return files
    }
}
