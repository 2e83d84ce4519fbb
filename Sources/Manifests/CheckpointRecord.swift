package import Checksums
package import LinuxPlatform
package import ObjectStorage

/// The commit record of a checkpoint: which files it is, in which generations, and what its writer said of it.
///
/// Every value keeps the rules of `init`; one that came out of a bucket is as good as one made here. Files are in byte
/// order of their paths, which begin at the run's prefix.
package struct CheckpointRecord: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 64 << 20
    package static let maximumFiles = 200_000
    package static let maximumRanks = 100_000
    package static let maximumMetrics = 64
    /// The largest whole number that every reader of JSON keeps exactly.
    package static let maximumStep = 1 << 53

    package struct File: Hashable, Sendable {
        /// Below the run's prefix: the checkpoint's name, or a path in its directory.
        package let path: SafePath
        /// In bytes.
        package let size: Int
        package let crc32c: CRC32C
        /// The object's generation.
        package let generation: Generation
        /// Who said that it wrote the file; nil where nobody did.
        package let rank: Int?

        package init(path: SafePath, size: Int, crc32c: CRC32C, generation: Generation, rank: Int? = nil) {
            self.path = path
            self.size = size
            self.crc32c = crc32c
            self.generation = generation
            self.rank = rank
        }
    }

    package let name: CheckpointName
    /// In whole milliseconds.
    package let created: UnixTime
    package let operation: OperationID
    /// How far training was.
    package let step: Int?
    /// What the writer, or who committed it, said of the run: `loss` and others.
    package let metrics: [String: Double]
    /// Which kind of writer left it, for people; nil when it was not recognised.
    package let writer: String?
    /// How many ranks had to say that they are done.
    package let ranks: Int
    /// What those ranks had in common; nil for one that was committed by one command.
    package let save: SaveID?
    package let files: [File]

    /// - Throws: `ManifestError`: `invalid` for a path that stands twice, is both file and directory, or is not the
    ///   checkpoint's; a size below 0 or over 5 TiB; a step or a rank out of bounds; a metric that is no finite number, or
    ///   has an unfit name; no file at all. `tooLarge` for too many files or metrics.
    package init(
        name: CheckpointName,
        created: UnixTime,
        operation: OperationID,
        step: Int? = nil,
        metrics: [String: Double] = [:],
        writer: String? = nil,
        ranks: Int = 1,
        save: SaveID? = nil,
        files: [File]
    ) throws(ManifestError) {
        self.name = name
        self.created = created.inWholeMilliseconds
        self.operation = operation
        self.step = step
        self.metrics = metrics
        self.writer = writer
        self.ranks = ranks
        self.save = save
        self.files = files.sorted { $0.path < $1.path }
        try CheckpointRules.check(self)
    }

    /// All files together, in bytes.
    package var totalSize: Int { files.reduce(0) { $0 + $1.size } }

    /// Whether it says the same of the same bytes; who committed it and when may differ.
    package func isSame(as other: CheckpointRecord) -> Bool {
        name == other.name && step == other.step && metrics == other.metrics && writer == other.writer
            && ranks == other.ranks && save == other.save && files == other.files
    }
}

/// What one rank says when its part of a checkpoint is uploaded.
package struct CheckpointShare: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 64 << 20

    package let name: CheckpointName
    package let save: SaveID
    /// From 0.
    package let rank: Int
    /// How many ranks there are.
    package let ranks: Int
    package let operation: OperationID
    /// The files that it wrote, where it named them; empty where it did not.
    package let files: [CheckpointRecord.File]

    /// - Throws: as `CheckpointRecord`; `invalid` also for a rank that is not below `ranks`.
    package init(
        name: CheckpointName,
        save: SaveID,
        rank: Int,
        ranks: Int,
        operation: OperationID,
        files: [CheckpointRecord.File]
    ) throws(ManifestError) {
        self.name = name
        self.save = save
        self.rank = rank
        self.ranks = ranks
        self.operation = operation
        self.files = files.sorted { $0.path < $1.path }
        try CheckpointRules.check(self)
    }
}

/// Says that a checkpoint is being removed: exactly these generations, and nothing else of that name.
package struct CheckpointRemoval: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 64 << 20

    package struct File: Hashable, Sendable {
        package let path: SafePath
        package let generation: Generation

        package init(path: SafePath, generation: Generation) {
            self.path = path
            self.generation = generation
        }
    }

    package let name: CheckpointName
    /// In whole milliseconds.
    package let created: UnixTime
    package let operation: OperationID
    /// The generation of the record that goes with it; nil when it had none.
    package let record: Generation?
    package let files: [File]

    /// - Throws: `ManifestError` as `CheckpointRecord`; a removal may be of no file.
    package init(
        name: CheckpointName,
        created: UnixTime,
        operation: OperationID,
        record: Generation?,
        files: [File]
    ) throws(ManifestError) {
        self.name = name
        self.created = created.inWholeMilliseconds
        self.operation = operation
        self.record = record
        self.files = files.sorted { $0.path < $1.path }
        try CheckpointRules.check(self)
    }
}
