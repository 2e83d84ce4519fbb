import Checksums
import LinuxPlatform
import ObjectStorage

extension PublicationIntent {
    /// The bytes to store: the same for equal intents.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(IntentWire(self)) }

    /// Reads a stored intent and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(IntentWire.self, from: bytes)
        let reader = WireReader(subject: Self.subject)
        try self.init(
            operation: reader.operation(wire.operation, "operation"),
            lease: reader.generation(wire.lease, "lease"),
            created: reader.time(wire.created, "created"),
            publish: reader.list(wire.publish, "publish") { file, place throws(ManifestError) in
                try file.read(reader, place)
            },
            keepAside: reader.list(wire.keepAside, "keepAside") { file, place throws(ManifestError) in
                try file.read(reader, place)
            },
            prune: reader.list(wire.prune, "prune") { file, place throws(ManifestError) in
                try Pruned(
                    path: reader.path(file.path, place),
                    generation: reader.generation(file.generation, place)
                )
            },
            manifest: IntentWire.manifest(wire.manifest),
            previousManifest: wire.previousManifest.map { text throws(ManifestError) in
                try reader.generation(text, "previousManifest")
            }
        )
    }
}

/// An intent as it stands in JSON.
private struct IntentWire: SealedContent {
    static let subject = PublicationIntent.subject
    static let currentVersion = PublicationIntent.formatVersion
    static let maximumBytes = PublicationIntent.maximumBytes

    let formatVersion: Int
    let operation: String
    let lease: String
    let created: String
    let publish: [Publishing]
    let keepAside: [Replaced]
    let prune: [Pruned]
    let manifest: ManifestWire
    let previousManifest: String?

    init(_ intent: PublicationIntent) {
        formatVersion = Self.currentVersion
        operation = intent.operation.value
        lease = intent.lease.description
        created = intent.created.description
        publish = intent.publish.map(Publishing.init)
        keepAside = intent.keepAside.map(Replaced.init)
        prune = intent.prune.map { Pruned(path: $0.path.value, generation: $0.generation.description) }
        manifest = ManifestWire(intent.manifest)
        previousManifest = intent.previousManifest?.description
    }

    /// The embedded manifest has a version of its own, and the seal of the whole.
    static func manifest(_ wire: ManifestWire) throws(ManifestError) -> SnapshotManifest {
        if wire.formatVersion != ManifestWire.currentVersion {
            throw .newer(subject, version: wire.formatVersion, known: ManifestWire.currentVersion)
        }
        return try SnapshotManifest(wire, subject: subject)
    }

    struct Publishing: Codable {
        let path: String
        let staged: String
        let stagedGeneration: String
        let expected: String?
        let size: Int
        let sha256: String
        let crc32c: String

        init(_ file: PublicationIntent.Publishing) {
            path = file.path.value
            staged = file.staged.value
            stagedGeneration = file.stagedGeneration.description
            expected = file.expected?.description
            size = file.size
            sha256 = file.sha256.description
            crc32c = file.crc32c.description
        }

        func read(_ reader: WireReader, _ place: String) throws(ManifestError) -> PublicationIntent.Publishing {
            PublicationIntent.Publishing(
                path: try reader.path(path, place),
                staged: try reader.path(staged, place),
                stagedGeneration: try reader.generation(stagedGeneration, place),
                expected: try expected.map { text throws(ManifestError) in try reader.generation(text, place) },
                size: size,
                sha256: try reader.sha256(sha256, place),
                crc32c: try reader.crc32c(crc32c, place)
            )
        }
    }

    struct Replaced: Codable {
        let path: String
        let generation: String
        let sha256: String
        let crc32c: String

        init(_ file: PublicationIntent.Replaced) {
            path = file.path.value
            generation = file.generation.description
            sha256 = file.sha256.description
            crc32c = file.crc32c.description
        }

        func read(_ reader: WireReader, _ place: String) throws(ManifestError) -> PublicationIntent.Replaced {
            PublicationIntent.Replaced(
                path: try reader.path(path, place),
                generation: try reader.generation(generation, place),
                sha256: try reader.sha256(sha256, place),
                crc32c: try reader.crc32c(crc32c, place)
            )
        }
    }

    struct Pruned: Codable {
        let path: String
        let generation: String
    }
}
