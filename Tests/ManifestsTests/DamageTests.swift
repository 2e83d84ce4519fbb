import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

/// Each kind of sealed record, with how to read it.
enum RecordKind: String, CaseIterable, CustomTestStringConvertible {
    case manifest
    case intent
    case lease
    case hashState
    case uploadState
    case checkpoint
    case checkpointShare
    case checkpointRemoval

    var testDescription: String { rawValue }

    func sample(_ random: inout SeededRandom) throws -> [UInt8] {
        switch self {
        case .manifest: try Sample.manifest(&random, files: 3).encoded()
        case .intent: try Sample.intent(&random).encoded()
        case .lease: try Sample.lease(&random).encoded()
        case .hashState: try Sample.hashState(&random).encoded()
        case .uploadState: try Sample.uploadState(&random).encoded()
        case .checkpoint: try Sample.checkpoint(&random).encoded()
        case .checkpointShare: try Sample.checkpointShare(&random).encoded()
        case .checkpointRemoval: try Sample.checkpointRemoval(&random).encoded()
        }
    }

    /// Reads, and writes again.
    func reread(_ bytes: [UInt8]) throws(ManifestError) -> [UInt8] {
        switch self {
        case .manifest: try SnapshotManifest(decoding: bytes).encoded()
        case .intent: try PublicationIntent(decoding: bytes).encoded()
        case .lease: try Lease(decoding: bytes).encoded()
        case .hashState: try HashState(decoding: bytes).encoded()
        case .uploadState: try UploadState(decoding: bytes).encoded()
        case .checkpoint: try CheckpointRecord(decoding: bytes).encoded()
        case .checkpointShare: try CheckpointShare(decoding: bytes).encoded()
        case .checkpointRemoval: try CheckpointRemoval(decoding: bytes).encoded()
        }
    }
}

@Suite struct DamageTests {
    @Test(arguments: RecordKind.allCases, 0..<10)
    func everyRecordComesBack(kind: RecordKind, seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let bytes = try kind.sample(&random)
        #expect(try kind.reread(bytes) == bytes)
    }

    @Test(arguments: RecordKind.allCases)
    func everyTruncationIsDetected(kind: RecordKind) throws {
        var random = SeededRandom(seed: 11)
        let bytes = try kind.sample(&random)
        for count in 0..<bytes.count {
            let error = #expect(throws: ManifestError.self) { try kind.reread(Array(bytes.prefix(count))) }
            #expect(error?.code == .damaged)
        }
    }

    @Test(arguments: RecordKind.allCases)
    func everyFlippedBitIsDetected(kind: RecordKind) throws {
        var random = SeededRandom(seed: 12)
        let bytes = try kind.sample(&random)
        for position in bytes.indices {
            var changed = bytes
            changed[position] ^= 1 << UInt8(random.next() % 8)
            let error = #expect(throws: ManifestError.self) { try kind.reread(changed) }
            #expect(error?.code == .damaged)
        }
    }

    /// A hostile writer can seal what it likes: whatever it is, reading throws or gives a value that holds the rules.
    @Test(arguments: RecordKind.allCases, 0..<150)
    func sealedNonsenseThrowsOrIsARecord(kind: RecordKind, seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var content = Array(try kind.sample(&random).dropLast(78)) + Array("}".utf8)
        for _ in 0...random.next() % 4 { mutate(&content, &random) }
        guard let text = String(validating: content, as: UTF8.self) else { return }
        do {
            let again = try kind.reread(sealed(text))
            #expect(try kind.reread(again) == again)
        } catch {
            #expect(!error.description.isEmpty)
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        let position = Int(random.next() % UInt64(bytes.count))
        switch random.next() % 4 {
        case 0: bytes[position] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: position)
        case 2: bytes.insert(contentsOf: Array("-9[]{}\",:e".utf8).shuffled(using: &random).prefix(2), at: position)
        default: bytes.swapAt(position, Int(random.next() % UInt64(bytes.count)))
        }
    }
}

@Suite struct HostileRecordTests {
    @Test(arguments: RecordKind.allCases)
    func aNewerFormatAsksForAnUpgrade(kind: RecordKind) throws {
        let error = #expect(throws: ManifestError.self) {
            try kind.reread(sealed(#"{"entirely":["different"],"formatVersion":2}"#))
        }
        #expect(error?.code == .newerFormat)
        #expect(error?.description.contains("written by a newer Penstock") == true)
    }

    @Test(arguments: RecordKind.allCases)
    func aNewerFormatThatStillFitsAsksForAnUpgrade(kind: RecordKind) throws {
        var random = SeededRandom(seed: 5)
        let content = String(decoding: try kind.sample(&random).dropLast(78), as: UTF8.self) + "}"
        let newer = content.replacing(#""formatVersion":1"#, with: #""formatVersion":9"#)
        let error = #expect(throws: ManifestError.self) { try kind.reread(sealed(newer)) }
        #expect(error?.code == .newerFormat)
    }

    @Test(arguments: [
        "{}", "[]", "{\"formatVersion\":0}", "{\"formatVersion\":\"1\"}", "{\"formatVersion\":1}",
        "{\"formatVersion\":1e300}", "{" + String(repeating: "[", count: 100_000) + "}",
    ])
    func wrongShapesAreErrorsThatSaySo(json: String) throws {
        let error = #expect(throws: ManifestError.self) { try SnapshotManifest(decoding: sealed(json)) }
        #expect(error?.code == .invalid || error?.code == .damaged)
    }

    @Test func aWrongTypeIsNamedWithItsPlace() throws {
        let content = try content().replacing("\"size\":5", with: "\"size\":\"many\"")
        let error = #expect(throws: ManifestError.self) { try SnapshotManifest(decoding: sealed(content)) }
        #expect(error?.description.contains("files[0].size") == true)
    }

    @Test(arguments: ["../../etc/passwd", "/etc/passwd", "a//b", "a/./b", "nul\\u0000byte", ""])
    func unsafeNamesAreRefused(name: String) throws {
        let content = try content().replacing("\"path\":\"plain.bin\"", with: "\"path\":\"\(name)\"")
        let error = #expect(throws: ManifestError.self) { try SnapshotManifest(decoding: sealed(content)) }
        #expect(error?.code == .invalid)
        #expect(error?.description.contains("files[0]") == true)
    }

    @Test(arguments: ["0", "-4", "+4", "04", "9223372036854775808", "1.5", ""])
    func generationsHaveOneSpelling(text: String) throws {
        let content = try content().replacing("\"generation\":\"77\"", with: "\"generation\":\"\(text)\"")
        #expect(throws: ManifestError.self) { try SnapshotManifest(decoding: sealed(content)) }
    }

    @Test(arguments: ["9999-01-01T00:00:00.000Z", "2026-11-23T00:00:00Z", "yesterday"])
    func timesHaveOneSpelling(text: String) throws {
        let content = try content().replacing("1970-01-01T00:00:00.000Z", with: text)
        #expect(throws: ManifestError.self) { try SnapshotManifest(decoding: sealed(content)) }
    }

    @Test func tooManyBytesAreNotEvenLookedAt() throws {
        let error = #expect(throws: ManifestError.self) {
            try Lease(decoding: [UInt8](repeating: 0x7B, count: Lease.maximumBytes + 1))
        }
        #expect(error?.code == .tooLarge)
    }

    /// The content of a manifest with one file, `plain.bin`, of generation 77.
    private func content() throws -> String {
        var random = SeededRandom(seed: 6)
        let file = SnapshotManifest.File(
            path: try SafePath("plain.bin"),
            size: 5,
            sha256: try Sample.sha256(&random),
            crc32c: .empty,
            generation: Generation(77),
            fileClass: .lfs
        )
        let manifest = try SnapshotManifest(
            source: .init(
                endpoint: "https://hub",
                repository: "a/b",
                type: .model,
                revision: "main",
                commit: Sample.hex(&random, 20)
            ),
            created: .init(seconds: 0),
            operation: .random(using: &random),
            files: [file]
        )
        return String(decoding: try manifest.encoded().dropLast(78), as: UTF8.self) + "}"
    }
}
