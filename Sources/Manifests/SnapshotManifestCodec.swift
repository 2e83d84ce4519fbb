import Checksums
import LinuxPlatform
import ObjectStorage

extension SnapshotManifest {
    /// The bytes to store: the same for equal manifests.
    ///
    /// - Throws: `invalid` when a file has no generation yet; `tooLarge` past 64 MiB.
    package func encoded() throws(ManifestError) -> [UInt8] {
        try ManifestRules.checkPublished(self)
        return try SealedDocument.encode(ManifestWire(self))
    }

    /// Reads a stored manifest and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(ManifestWire.self, from: bytes)
        try self.init(wire, subject: ManifestWire.subject)
        try ManifestRules.checkPublished(self)
    }

    init(_ wire: ManifestWire, subject: String) throws(ManifestError) {
        let reader = WireReader(subject: subject)
        if wire.files.count > Self.maximumFiles {
            throw ManifestError(
                .tooLarge,
                subject,
                "has \(wire.files.count) files; at most \(Self.maximumFiles) are accepted"
            )
        }
        try self.init(
            source: wire.source.value,
            created: reader.time(wire.created, "created"),
            operation: reader.operation(wire.operation, "operation"),
            layout: wire.layout,
            filters: Filters(include: wire.filters.include, exclude: wire.filters.exclude),
            files: reader.list(wire.files, "files") { file, place throws(ManifestError) in
                try file.read(reader, place)
            }
        )
    }
}

/// A manifest as it stands in JSON.
struct ManifestWire: SealedContent {
    static let subject = ManifestRules.subject
    static let currentVersion = SnapshotManifest.formatVersion
    static let maximumBytes = SnapshotManifest.maximumBytes

    let formatVersion: Int
    let source: Source
    let created: String
    let operation: String
    let layout: SnapshotManifest.Layout
    let filters: Filters
    let files: [File]

    init(_ manifest: SnapshotManifest) {
        formatVersion = Self.currentVersion
        source = Source(manifest.source)
        created = manifest.created.description
        operation = manifest.operation.value
        layout = manifest.layout
        filters = Filters(include: manifest.filters.include, exclude: manifest.filters.exclude)
        files = manifest.files.map(File.init)
    }

    struct Source: Codable {
        let endpoint: String
        let repository: String
        let type: SnapshotManifest.RepositoryType
        let revision: String
        let commit: String

        init(_ source: SnapshotManifest.Source) {
            endpoint = source.endpoint
            repository = source.repository
            type = source.type
            revision = source.revision
            commit = source.commit
        }

        var value: SnapshotManifest.Source {
            SnapshotManifest.Source(
                endpoint: endpoint,
                repository: repository,
                type: type,
                revision: revision,
                commit: commit
            )
        }
    }

    struct Filters: Codable {
        let include: [String]
        let exclude: [String]
    }

    struct File: Codable {
        let path: String
        let size: Int
        let sha256: String
        let gitOID: String?
        let crc32c: String
        let generation: String?
        let `class`: SnapshotManifest.FileClass

        init(_ file: SnapshotManifest.File) {
            path = file.path.value
            size = file.size
            sha256 = file.sha256.description
            gitOID = file.gitOID?.description
            crc32c = file.crc32c.description
            generation = file.generation?.description
            `class` = file.fileClass
        }

        func read(_ reader: WireReader, _ place: String) throws(ManifestError) -> SnapshotManifest.File {
            SnapshotManifest.File(
                path: try reader.path(path, place),
                size: size,
                sha256: try reader.sha256(sha256, place),
                gitOID: try gitOID.map { text throws(ManifestError) in try reader.sha1(text, place) },
                crc32c: try reader.crc32c(crc32c, place),
                generation: try generation.map { text throws(ManifestError) in try reader.generation(text, place) },
                fileClass: `class`
            )
        }
    }
}
