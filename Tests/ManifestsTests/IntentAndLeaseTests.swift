import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct PublicationIntentTests {
    @Test func namesEveryFileWithoutGeneration() throws {
        var random = SeededRandom(seed: 1)
        let intent = try Sample.intent(&random)
        let error = #expect(throws: ManifestError.self) { try rebuilt(intent) { $0.removeLast() } }
        #expect(error?.description.contains("is not to be published") == true)
    }

    @Test func publishesNothingItsManifestDoesNotName() throws {
        var random = SeededRandom(seed: 2)
        let intent = try Sample.intent(&random)
        let stranger = try changed(intent.publish[0], path: "stranger.bin")
        #expect(throws: ManifestError.self) { try rebuilt(intent) { $0.append(stranger) } }
    }

    @Test func publishesNothingTwice() throws {
        var random = SeededRandom(seed: 3)
        let intent = try Sample.intent(&random)
        #expect(throws: ManifestError.self) { try rebuilt(intent) { $0.append($0[0]) } }
    }

    @Test func publishesOnlyWhatTheManifestDescribes() throws {
        var random = SeededRandom(seed: 4)
        let intent = try Sample.intent(&random)
        let other = try changed(intent.publish[0], size: intent.publish[0].size ^ 1)
        #expect(throws: ManifestError.self) { try rebuilt(intent) { $0[0] = other } }
    }

    @Test(arguments: ["model.bin", ".penstock", ".penstock2/staged/x", "a/.penstock/x"])
    func takesStagedFilesFromPenstocksOwnDirectoryOnly(staged: String) throws {
        var random = SeededRandom(seed: 5)
        let intent = try Sample.intent(&random)
        let other = try changed(intent.publish[0], staged: staged)
        let error = #expect(throws: ManifestError.self) { try rebuilt(intent) { $0[0] = other } }
        #expect(error?.description.contains("staged outside") == true)
    }

    @Test func prunesNothingThatTheManifestNames() throws {
        var random = SeededRandom(seed: 6)
        let intent = try Sample.intent(&random)
        let pruned = PublicationIntent.Pruned(path: intent.manifest.files[0].path, generation: Generation(1))
        #expect(throws: ManifestError.self) { try rebuilt(intent, prune: [pruned]) }
    }

    @Test(arguments: [".penstock/manifest.json", ".penstock/lease"])
    func prunesNothingOfPenstocksOwn(path: String) throws {
        var random = SeededRandom(seed: 7)
        let intent = try Sample.intent(&random)
        let pruned = PublicationIntent.Pruned(path: try SafePath(path), generation: Generation(1))
        #expect(throws: ManifestError.self) { try rebuilt(intent, prune: [pruned]) }
    }

    @discardableResult
    private func rebuilt(
        _ intent: PublicationIntent,
        prune: [PublicationIntent.Pruned] = [],
        _ change: (inout [PublicationIntent.Publishing]) -> Void = { _ in }
    ) throws -> PublicationIntent {
        var publish = intent.publish
        change(&publish)
        return try PublicationIntent(
            operation: intent.operation,
            lease: intent.lease,
            created: intent.created,
            publish: publish,
            keepAside: intent.keepAside,
            prune: prune,
            manifest: intent.manifest,
            previousManifest: intent.previousManifest
        )
    }

    private func changed(
        _ file: PublicationIntent.Publishing,
        path: String? = nil,
        staged: String? = nil,
        size: Int? = nil
    ) throws -> PublicationIntent.Publishing {
        PublicationIntent.Publishing(
            path: try path.map { try SafePath($0) } ?? file.path,
            staged: try staged.map { try SafePath($0) } ?? file.staged,
            stagedGeneration: file.stagedGeneration,
            expected: file.expected,
            size: size ?? file.size,
            sha256: file.sha256,
            crc32c: file.crc32c
        )
    }
}

@Suite struct LeaseTests {
    @Test func expiresItsTimeAfterTheLastRenewal() throws {
        var random = SeededRandom(seed: 1)
        let lease = try Sample.lease(&random)
        let renewed = UnixTime(seconds: 1000)
        #expect(!lease.isExpired(renewed: renewed, now: UnixTime(seconds: 1059)))
        #expect(lease.isExpired(renewed: renewed, now: UnixTime(seconds: 1060)))
        #expect(!lease.isExpired(renewed: renewed, now: UnixTime(seconds: 900)))
    }

    @Test(arguments: [0, -1, 86_401, Int.max]) func refusesUnboundedTimes(seconds: Int) {
        #expect(throws: ManifestError.self) {
            try Lease(
                owner: .random(),
                host: "h",
                processID: 1,
                purpose: "p",
                acquired: UnixTime(seconds: 0),
                seconds: seconds
            )
        }
    }

    @Test(arguments: ["line\nbreak", String(repeating: "x", count: 257)]) func refusesTextsNoLogCanShow(text: String) {
        #expect(throws: ManifestError.self) {
            try Lease(
                owner: .random(),
                host: text,
                processID: 1,
                purpose: "p",
                acquired: UnixTime(seconds: 0),
                seconds: 1
            )
        }
    }
}

@Suite struct HashStateTests {
    @Test(arguments: [-1, Int.min]) func coversNoNegativeLength(offset: Int) throws {
        var random = SeededRandom(seed: 1)
        let digest = try Sample.sha256(&random)
        #expect(throws: ManifestError.self) {
            try HashState(transfer: TransferID(digest), offset: offset, crc32c: .empty, sha256: [1])
        }
    }

    @Test(arguments: [0, 257]) func refusesStatesThatAreNone(count: Int) throws {
        var random = SeededRandom(seed: 2)
        let digest = try Sample.sha256(&random)
        #expect(throws: ManifestError.self) {
            try HashState(transfer: TransferID(digest), offset: 0, crc32c: .empty, sha256: random.bytes(count))
        }
    }
}

@Suite struct UploadStateTests {
    private static let unit = 64 << 10

    /// A state that adds `units` granules to `last`.
    private static func state(
        after last: UploadState?,
        units: Int = 1,
        uploadID: String = "one",
        crc32c: CRC32C? = nil
    ) throws -> UploadState {
        let table = try CRCTable(granules: Array(repeating: CRC32C(7), count: units), size: units * unit)
        let whole = (last?.hash.crc32c ?? .empty).combine(with: table.combined, count: table.size)
        let hash = try HashState(
            transfer: TransferID(SHA256Digest.of([UInt8]())),
            offset: (last?.hash.offset ?? 0) + table.size,
            crc32c: crc32c ?? whole,
            sha256: [1]
        )
        return try UploadState(hash: hash, uploadID: uploadID, unitSize: unit, granules: table)
    }

    @Test func followsTheOneItBeginsAt() throws {
        let first = try Self.state(after: nil, units: 3)
        let second = try Self.state(after: first)
        #expect(first.follows(nil) && second.follows(first))
        #expect(!second.follows(nil) && !first.follows(second) && !second.follows(second))
    }

    @Test func followsNoOtherUploadAndNoOtherBytes() throws {
        let first = try Self.state(after: nil)
        #expect(try !Self.state(after: first, uploadID: "two").follows(first))
        #expect(try !Self.state(after: first, crc32c: CRC32C(1)).follows(first))
    }

    @Test func refusesSpansThatAreNoRowOfParts() throws {
        let table = try CRCTable(granules: [CRC32C(7)], size: Self.unit)
        let transfer = TransferID(SHA256Digest.of([UInt8]()))
        for (offset, unitSize, id) in [
            (1, Self.unit, "one"), (Self.unit + 1, Self.unit, "one"), (Self.unit, 0, "one"), (Self.unit, 1000, "one"),
            (Self.unit, Self.unit, ""), (Self.unit, Self.unit, String(repeating: "x", count: 1025)),
        ] {
            let hash = try HashState(transfer: transfer, offset: offset, crc32c: .empty, sha256: [1])
            #expect(throws: ManifestError.self, "\(offset) \(unitSize)") {
                try UploadState(hash: hash, uploadID: id, unitSize: unitSize, granules: table)
            }
        }
    }
}
