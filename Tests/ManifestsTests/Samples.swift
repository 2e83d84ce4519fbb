import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport

/// Records of every kind, the same for the same seed.
enum Sample {
    static func manifest(
        _ random: inout SeededRandom,
        files count: Int = 5,
        generations: Bool = true
    ) throws -> SnapshotManifest {
        var files: [SnapshotManifest.File] = []
        for index in 0..<count { files.append(try file(&random, index, generation: generations)) }
        return try SnapshotManifest(
            source: SnapshotManifest.Source(
                endpoint: "https://huggingface.co",
                repository: "acme/tiny-\(random.next() % 100)",
                type: SnapshotManifest.RepositoryType.allCases.randomElement(using: &random) ?? .model,
                revision: "refs/pr/\(random.next() % 9)",
                commit: hex(&random, 20)
            ),
            created: UnixTime(nanoseconds: Int64(random.next() % 4_000_000_000_000_000_000)),
            operation: .random(using: &random),
            layout: SnapshotManifest.Layout.allCases.randomElement(using: &random) ?? .plain,
            filters: SnapshotManifest.Filters(include: ["*.json", "*.safetensors"], exclude: ["a \"quoted\"\\/ é"]),
            files: files
        )
    }

    static func file(
        _ random: inout SeededRandom,
        _ index: Int,
        generation: Bool = true
    ) throws -> SnapshotManifest.File {
        let directory = ["", "sub/", "sub/deeper/", "e\u{301}/", "\u{E9}/", "日本/"].randomElement(using: &random) ?? ""
        let isRegular = Bool.random(using: &random)
        return SnapshotManifest.File(
            path: try SafePath("\(directory)file-\(index)-\(random.next() % 1000).bin"),
            size: Int(random.next() % (5 << 40)),
            sha256: try sha256(&random),
            gitOID: isRegular ? try sha1(&random) : nil,
            crc32c: CRC32C(UInt32(truncatingIfNeeded: random.next())),
            generation: generation ? self.generation(&random) : nil,
            fileClass: isRegular ? .regular : .lfs
        )
    }

    static func intent(_ random: inout SeededRandom) throws -> PublicationIntent {
        let manifest = try manifest(&random, generations: false)
        var publish: [PublicationIntent.Publishing] = []
        for file in manifest.files {
            publish.append(
                PublicationIntent.Publishing(
                    path: file.path,
                    staged: try SafePath(".penstock/staged/sha256-\(file.sha256)/7"),
                    stagedGeneration: generation(&random),
                    expected: Bool.random(using: &random) ? generation(&random) : nil,
                    size: file.size,
                    sha256: file.sha256,
                    crc32c: file.crc32c
                )
            )
        }
        let replaced = PublicationIntent.Replaced(
            path: publish[0].path,
            generation: generation(&random),
            sha256: try sha256(&random),
            crc32c: CRC32C(7)
        )
        return try PublicationIntent(
            operation: .random(using: &random),
            lease: generation(&random),
            created: UnixTime(seconds: 1_800_000_000),
            publish: publish,
            keepAside: [replaced],
            prune: [.init(path: try SafePath("gone.bin"), generation: generation(&random))],
            manifest: manifest,
            previousManifest: Bool.random(using: &random) ? generation(&random) : nil
        )
    }

    static func lease(_ random: inout SeededRandom) throws -> Lease {
        try Lease(
            owner: .random(using: &random),
            host: "node-\(random.next() % 100)",
            processID: Int(random.next() % 100_000),
            purpose: "snapshot acme/tiny",
            acquired: UnixTime(seconds: Int64(random.next() % 4_000_000_000)),
            seconds: 60
        )
    }

    static func hashState(_ random: inout SeededRandom) throws -> HashState {
        try HashState(
            transfer: TransferID(try sha256(&random)),
            offset: Int(random.next() % 1_000_000) * 64,
            crc32c: CRC32C(UInt32(truncatingIfNeeded: random.next())),
            sha256: random.bytes(40),
            gitSHA1: Bool.random(using: &random) ? random.bytes(40) : nil
        )
    }

    /// The first state of an upload, of two parts.
    static func uploadState(_ random: inout SeededRandom) throws -> UploadState {
        let unit = 5 << 20
        let granules = (0..<2 * unit / CRCTable.granuleSize).map { _ in CRC32C(UInt32.random(in: 1...9, using: &random))
        }
        let table = try CRCTable(granules: granules, size: 2 * unit)
        let hash = try HashState(
            transfer: TransferID(try sha256(&random)),
            offset: 2 * unit,
            crc32c: table.combined,
            sha256: random.bytes(40)
        )
        return try UploadState(hash: hash, uploadID: "upload-1", unitSize: unit, granules: table)
    }

    static func table(of bytes: [UInt8]) throws -> CRCTable {
        let starts = stride(from: 0, to: bytes.count, by: CRCTable.granuleSize)
        let granules = starts.map { CRC32C.of(Array(bytes[$0..<min(bytes.count, $0 + CRCTable.granuleSize)])) }
        return try CRCTable(granules: granules, size: bytes.count)
    }

    static func sha256(_ random: inout SeededRandom) throws -> SHA256Digest {
        guard let digest = SHA256Digest(hex: hex(&random, 32)) else { throw SampleError.notADigest }
        return digest
    }

    static func sha1(_ random: inout SeededRandom) throws -> SHA1Digest {
        guard let digest = SHA1Digest(hex: hex(&random, 20)) else { throw SampleError.notADigest }
        return digest
    }

    static func generation(_ random: inout SeededRandom) -> Generation {
        Generation(Int64(random.next() >> 1) | 1)
    }

    static func hex(_ random: inout SeededRandom, _ count: Int) -> String {
        random.bytes(count).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }

    enum SampleError: Error { case notADigest }
}

/// Puts a right seal on any content, as a hostile writer can.
func sealed(_ json: String) -> [UInt8] {
    let digest = SHA256Digest.of(Array(json.utf8))
    return Array("\(json.dropLast()),\"sha256\":\"\(digest)\"}\n".utf8)
}
