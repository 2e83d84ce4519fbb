import Checksums
import LinuxPlatform
import ObjectStorage

extension CheckpointRecord {
    /// The bytes to store: the same for equal records.
    ///
    /// - Throws: `tooLarge` past 64 MiB.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(CheckpointWire(self)) }

    /// Reads a stored record and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(CheckpointWire.self, from: bytes)
        let reader = WireReader(subject: CheckpointWire.subject)
        try self.init(
            name: reader.checkpoint(wire.name),
            created: reader.time(wire.created, "created"),
            operation: reader.operation(wire.operation, "operation"),
            step: wire.step,
            metrics: wire.metrics,
            writer: wire.writer,
            ranks: wire.ranks,
            save: wire.save.map { text throws(ManifestError) in try reader.save(text) },
            files: reader.files(wire.files)
        )
    }
}

extension CheckpointShare {
    /// The bytes to store: the same for equal shares.
    ///
    /// - Throws: `tooLarge` past 64 MiB.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(ShareWire(self)) }

    /// Reads a stored share and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(ShareWire.self, from: bytes)
        let reader = WireReader(subject: ShareWire.subject)
        try self.init(
            name: reader.checkpoint(wire.name),
            save: reader.save(wire.save),
            rank: wire.rank,
            ranks: wire.ranks,
            operation: reader.operation(wire.operation, "operation"),
            files: reader.files(wire.files)
        )
    }
}

extension CheckpointRemoval {
    /// The bytes to store: the same for equal removals.
    ///
    /// - Throws: `tooLarge` past 64 MiB.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(RemovalWire(self)) }

    /// Reads a stored removal and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(RemovalWire.self, from: bytes)
        let reader = WireReader(subject: RemovalWire.subject)
        try reader.check(count: wire.files.count)
        try self.init(
            name: reader.checkpoint(wire.name),
            created: reader.time(wire.created, "created"),
            operation: reader.operation(wire.operation, "operation"),
            record: wire.record.map { text throws(ManifestError) in try reader.generation(text, "record") },
            files: reader.list(wire.files, "files") { file, place throws(ManifestError) in
                File(path: try reader.path(file.path, place), generation: try reader.generation(file.generation, place))
            }
        )
    }
}

extension WireReader {
    fileprivate func checkpoint(_ text: String) throws(ManifestError) -> CheckpointName {
        do { return try CheckpointName(text) } catch {
            throw ManifestError(.invalid, subject, "name: \(error.message)")
        }
    }

    fileprivate func save(_ text: String) throws(ManifestError) -> SaveID {
        guard let save = SaveID(text) else {
            throw ManifestError(.invalid, subject, "save: \(quoted(text)) is no name of a save")
        }
        return save
    }

    fileprivate func check(count: Int) throws(ManifestError) {
        if count <= CheckpointRecord.maximumFiles { return }
        throw ManifestError(.tooLarge, subject, "has \(count) files")
    }

    fileprivate func files(_ wires: [CheckpointFileWire]) throws(ManifestError) -> [CheckpointRecord.File] {
        try check(count: wires.count)
        return try list(wires, "files") { file, place throws(ManifestError) in
            CheckpointRecord.File(
                path: try path(file.path, place),
                size: file.size,
                crc32c: try crc32c(file.crc32c, place),
                generation: try generation(file.generation, place),
                rank: file.rank
            )
        }
    }
}

private struct CheckpointFileWire: Codable {
    let path: String
    let size: Int
    let crc32c: String
    let generation: String
    let rank: Int?

    init(_ file: CheckpointRecord.File) {
        path = file.path.value
        size = file.size
        crc32c = file.crc32c.description
        generation = file.generation.description
        rank = file.rank
    }
}

private struct CheckpointWire: SealedContent {
    static let subject = CheckpointRules.record
    static let currentVersion = CheckpointRecord.formatVersion
    static let maximumBytes = CheckpointRecord.maximumBytes

    let formatVersion: Int
    let name: String
    let created: String
    let operation: String
    let step: Int?
    let metrics: [String: Double]
    let writer: String?
    let ranks: Int
    let save: String?
    let files: [CheckpointFileWire]

    init(_ record: CheckpointRecord) {
        formatVersion = Self.currentVersion
        name = record.name.description
        created = record.created.description
        operation = record.operation.value
        step = record.step
        metrics = record.metrics
        writer = record.writer
        ranks = record.ranks
        save = record.save?.value
        files = record.files.map(CheckpointFileWire.init)
    }
}

private struct ShareWire: SealedContent {
    static let subject = CheckpointRules.share
    static let currentVersion = CheckpointShare.formatVersion
    static let maximumBytes = CheckpointShare.maximumBytes

    let formatVersion: Int
    let name: String
    let save: String
    let rank: Int
    let ranks: Int
    let operation: String
    let files: [CheckpointFileWire]

    init(_ share: CheckpointShare) {
        formatVersion = Self.currentVersion
        name = share.name.description
        save = share.save.value
        rank = share.rank
        ranks = share.ranks
        operation = share.operation.value
        files = share.files.map(CheckpointFileWire.init)
    }
}

private struct RemovalWire: SealedContent {
    static let subject = CheckpointRules.removal
    static let currentVersion = CheckpointRemoval.formatVersion
    static let maximumBytes = CheckpointRemoval.maximumBytes

    struct File: Codable {
        let path: String
        let generation: String
    }

    let formatVersion: Int
    let name: String
    let created: String
    let operation: String
    let record: String?
    let files: [File]

    init(_ removal: CheckpointRemoval) {
        formatVersion = Self.currentVersion
        name = removal.name.description
        created = removal.created.description
        operation = removal.operation.value
        record = removal.record?.description
        files = removal.files.map { File(path: $0.path.value, generation: $0.generation.description) }
    }
}
