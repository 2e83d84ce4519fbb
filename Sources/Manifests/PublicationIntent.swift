package import Checksums
package import LinuxPlatform
package import ObjectStorage

/// What is being published right now: enough for whoever finds it to finish the work.
///
/// Everything it names lies under one prefix; paths are relative to it.
package struct PublicationIntent: Hashable, Sendable {
    package static let formatVersion = 1
    /// The manifest and about as much again.
    package static let maximumBytes = 192 << 20

    /// A file to be made visible.
    package struct Publishing: Hashable, Sendable {
        package let path: SafePath
        /// The whole, verified content, below `.penstock/`.
        package let staged: SafePath
        package let stagedGeneration: Generation
        /// What stands at `path` now; nil when nothing does.
        package let expected: Generation?
        package let size: Int
        package let sha256: SHA256Digest
        package let crc32c: CRC32C

        package init(
            path: SafePath,
            staged: SafePath,
            stagedGeneration: Generation,
            expected: Generation?,
            size: Int,
            sha256: SHA256Digest,
            crc32c: CRC32C
        ) {
            self.path = path
            self.staged = staged
            self.stagedGeneration = stagedGeneration
            self.expected = expected
            self.size = size
            self.sha256 = sha256
            self.crc32c = crc32c
        }
    }

    /// A file of the previous snapshot that will be overwritten or deleted, to be copied to `replaced/` before.
    package struct Replaced: Hashable, Sendable {
        package let path: SafePath
        package let generation: Generation
        package let sha256: SHA256Digest
        package let crc32c: CRC32C

        package init(path: SafePath, generation: Generation, sha256: SHA256Digest, crc32c: CRC32C) {
            self.path = path
            self.generation = generation
            self.sha256 = sha256
            self.crc32c = crc32c
        }
    }

    /// A file that the new manifest no longer names, to be deleted after it is written.
    package struct Pruned: Hashable, Sendable {
        package let path: SafePath
        package let generation: Generation

        package init(path: SafePath, generation: Generation) {
            self.path = path
            self.generation = generation
        }
    }

    package let operation: OperationID
    /// The lease it was written under.
    package let lease: Generation
    /// In whole milliseconds.
    package let created: UnixTime
    package let publish: [Publishing]
    package let keepAside: [Replaced]
    package let prune: [Pruned]
    /// The manifest to come; files in `publish` have no generation yet, all others have theirs.
    package let manifest: SnapshotManifest
    /// The manifest it replaces; nil when there is none.
    package let previousManifest: Generation?

    /// - Throws: `invalid` when a path stands twice in a list; a published file is not in the manifest or differs from
    ///   it; a file without generation is not in `publish`; a staged name lies outside of `.penstock`; something is both
    ///   pruned and in the manifest.
    package init(
        operation: OperationID,
        lease: Generation,
        created: UnixTime,
        publish: [Publishing],
        keepAside: [Replaced] = [],
        prune: [Pruned] = [],
        manifest: SnapshotManifest,
        previousManifest: Generation?
    ) throws(ManifestError) {
        self.operation = operation
        self.lease = lease
        self.created = created.inWholeMilliseconds
        self.publish = publish
        self.keepAside = keepAside
        self.prune = prune
        self.manifest = manifest
        self.previousManifest = previousManifest
        try check()
    }

    static let subject = "intent"

    private func check() throws(ManifestError) {
        try checkUnique(publish.map(\.path), "published")
        try checkUnique(keepAside.map(\.path), "kept aside")
        try checkUnique(prune.map(\.path), "pruned")
        for file in publish { try check(file) }
        let publishing = Set(publish.map(\.path))
        if let file = manifest.files.first(where: { $0.generation == nil && !publishing.contains($0.path) }) {
            throw invalid("\(quoted(file.path.value)) has no generation and is not to be published")
        }
        if let file = keepAside.first(where: { PenstockPaths.isReserved($0.path) }) {
            throw invalid("\(quoted(file.path.value)) is Penstock's own and would be kept aside")
        }
        for file in prune where manifest.file(at: file.path) != nil || PenstockPaths.isReserved(file.path) {
            throw invalid("\(quoted(file.path.value)) would be pruned, but is in the manifest or Penstock's own")
        }
        try ManifestRules.checkGeneration(lease, Self.subject, "the lease")
    }

    private func check(_ file: Publishing) throws(ManifestError) {
        let name = quoted(file.path.value)
        guard let entry = manifest.file(at: file.path) else { throw invalid("\(name) is not in its manifest") }
        guard entry.generation == nil else { throw invalid("\(name) is published already, says its manifest") }
        guard entry.size == file.size, entry.sha256 == file.sha256, entry.crc32c == file.crc32c else {
            throw invalid("\(name) differs from its manifest")
        }
        guard PenstockPaths.isReserved(file.staged), file.staged.segments.count > 1 else {
            throw invalid("\(name) is staged outside of '\(PenstockPaths.directory)'")
        }
    }

    private func checkUnique(_ paths: [SafePath], _ what: String) throws(ManifestError) {
        if paths.count > SnapshotManifest.maximumFiles {
            throw ManifestError(
                .tooLarge,
                Self.subject,
                "\(paths.count) files \(what); at most \(SnapshotManifest.maximumFiles) are accepted"
            )
        }
        var seen = Set<SafePath>()
        for path in paths where !seen.insert(path).inserted {
            throw invalid("\(quoted(path.value)) is \(what) twice")
        }
    }

    private func invalid(_ message: String) -> ManifestError { ManifestError(.invalid, Self.subject, message) }
}
