package import Checksums
package import LinuxPlatform
package import ObjectStorage

/// The commit record of a snapshot: what a prefix holds, where it came from, and how to prove every byte of it.
///
/// Every value keeps the rules of `init`; one that came out of a bucket is as good as one made here. Files are in byte
/// order of their paths.
package struct SnapshotManifest: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 64 << 20
    package static let maximumFiles = 1_000_000
    /// Cloud Storage's limit for one object: 5 TiB.
    package static let maximumFileSize = 5 << 40

    package enum RepositoryType: String, Sendable, CaseIterable, Codable {
        case model
        case dataset
        case space
    }

    /// How the files stand under the prefix.
    package enum Layout: String, Sendable, CaseIterable, Codable {
        /// Each at its path in the repository.
        case plain
        /// As in `HF_HUB_CACHE`: `models--org--name/snapshots/<commit>/…`.
        case hub
    }

    /// What the Hub, or another origin, says of the snapshot.
    package struct Source: Hashable, Sendable {
        /// A URL without credentials or query.
        package let endpoint: String
        package let repository: String
        package let type: RepositoryType
        /// As the user asked: a branch, a tag, a commit.
        package let revision: String
        /// What it was: 40 or 64 hexadecimal digits.
        package let commit: String

        package init(endpoint: String, repository: String, type: RepositoryType, revision: String, commit: String) {
            self.endpoint = endpoint
            self.repository = repository
            self.type = type
            self.revision = revision
            self.commit = commit
        }
    }

    /// Which files of the repository were asked for; both empty: all.
    package struct Filters: Hashable, Sendable {
        package let include: [String]
        package let exclude: [String]

        package init(include: [String] = [], exclude: [String] = []) {
            self.include = include
            self.exclude = exclude
        }
    }

    /// How the repository keeps a file, and so by which hash it is known there.
    package enum FileClass: String, Sendable, CaseIterable, Codable {
        /// By SHA-256.
        case lfs
        /// By git blob hash.
        case regular
        /// Not in the repository: made by Penstock for the layout.
        case generated
    }

    package struct File: Hashable, Sendable {
        /// Relative to the prefix.
        package let path: SafePath
        /// In bytes.
        package let size: Int
        package let sha256: SHA256Digest
        /// The git blob hash, where the repository knows the file by it.
        package let gitOID: SHA1Digest?
        package let crc32c: CRC32C
        /// The object's generation. Nil only inside of an intent: not published yet.
        package let generation: Generation?
        package let fileClass: FileClass

        package init(
            path: SafePath,
            size: Int,
            sha256: SHA256Digest,
            gitOID: SHA1Digest? = nil,
            crc32c: CRC32C,
            generation: Generation?,
            fileClass: FileClass
        ) {
            self.path = path
            self.size = size
            self.sha256 = sha256
            self.gitOID = gitOID
            self.crc32c = crc32c
            self.generation = generation
            self.fileClass = fileClass
        }

        package func published(as generation: Generation) -> File {
            File(
                path: path,
                size: size,
                sha256: sha256,
                gitOID: gitOID,
                crc32c: crc32c,
                generation: generation,
                fileClass: fileClass
            )
        }
    }

    package let source: Source
    /// In whole milliseconds.
    package let created: UnixTime
    package let operation: OperationID
    package let layout: Layout
    package let filters: Filters
    package let files: [File]

    /// - Throws: `ManifestError`: `invalid` for a path that stands twice, is both file and directory, or lies in
    ///   `.penstock`; a size below 0 or over 5 TiB; a source that is no URL, carries credentials, or names no commit.
    ///   `tooLarge` for too many files or filters.
    package init(
        source: Source,
        created: UnixTime,
        operation: OperationID,
        layout: Layout = .plain,
        filters: Filters = Filters(),
        files: [File]
    ) throws(ManifestError) {
        self.source = source
        self.created = created.inWholeMilliseconds
        self.operation = operation
        self.layout = layout
        self.filters = filters
        self.files = files.sorted { $0.path < $1.path }
        try ManifestRules.check(self)
    }

    /// All files together, in bytes.
    package var totalSize: Int { files.reduce(0) { $0 + $1.size } }

    /// The file at `path`, found in logarithmic time.
    package func file(at path: SafePath) -> File? {
        var low = 0
        var high = files.count
        while low < high {
            let middle = low + (high - low) / 2
            if files[middle].path < path { low = middle + 1 } else { high = middle }
        }
        return low < files.count && files[low].path == path ? files[low] : nil
    }

    /// The manifest with the generations that publishing gave.
    ///
    /// - Throws: `invalid` when a file is left without one.
    package func completed(with generations: [SafePath: Generation]) throws(ManifestError) -> SnapshotManifest {
        let completed = files.map { file in generations[file.path].map(file.published) ?? file }
        let manifest = try SnapshotManifest(
            source: source,
            created: created,
            operation: operation,
            layout: layout,
            filters: filters,
            files: completed
        )
        try ManifestRules.checkPublished(manifest)
        return manifest
    }
}

extension UnixTime {
    /// As precise as records keep it.
    var inWholeMilliseconds: UnixTime {
        let remainder = nanoseconds % 1_000_000
        return UnixTime(nanoseconds: nanoseconds - (remainder < 0 ? remainder + 1_000_000 : remainder))
    }
}
