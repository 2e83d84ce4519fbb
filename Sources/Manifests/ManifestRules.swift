import ObjectStorage

/// What a manifest must be, whoever wrote it.
enum ManifestRules {
    static let subject = "manifest"
    private static let maximumFilters = 1000
    private static let maximumText = 1024

    static func check(_ manifest: SnapshotManifest) throws(ManifestError) {
        let count = manifest.files.count
        if count > SnapshotManifest.maximumFiles {
            throw ManifestError(
                .tooLarge,
                subject,
                "has \(count) files; at most \(SnapshotManifest.maximumFiles) are accepted"
            )
        }
        try check(manifest.source)
        try check(manifest.filters)
        for file in manifest.files { try check(file) }
        try checkNames(manifest.files)
    }

    /// Every file of a manifest that readers may see has its generation.
    static func checkPublished(_ manifest: SnapshotManifest) throws(ManifestError) {
        if let file = manifest.files.first(where: { $0.generation == nil }) {
            throw ManifestError(.invalid, subject, "\(quoted(file.path.value)) has no generation: it is not published")
        }
    }

    private static func check(_ source: SnapshotManifest.Source) throws(ManifestError) {
        let schemes = ["https://", "http://", "file:///"]
        guard schemes.contains(where: { source.endpoint.utf8.starts(with: $0.utf8) }) else {
            throw ManifestError(.invalid, subject, "its source is not an http, https or file URL")
        }
        if source.endpoint.utf8.contains(where: { $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: "?") }) {
            throw ManifestError(.invalid, subject, "its source's URL carries credentials or a query")
        }
        guard [40, 64].contains(source.commit.utf8.count), source.commit.utf8.allSatisfy(isLowerHex) else {
            throw ManifestError(.invalid, subject, "the commit \(quoted(source.commit)) is not 40 or 64 hex digits")
        }
        for (text, what) in [
            (source.endpoint, "endpoint"), (source.repository, "repository"), (source.revision, "revision"),
        ] { try checkText(text, what) }
    }

    private static func check(_ filters: SnapshotManifest.Filters) throws(ManifestError) {
        let all = filters.include + filters.exclude
        if all.count > maximumFilters {
            throw ManifestError(
                .tooLarge,
                subject,
                "has \(all.count) filters; at most \(maximumFilters) are accepted"
            )
        }
        for filter in all { try checkText(filter, "filter") }
    }

    private static func check(_ file: SnapshotManifest.File) throws(ManifestError) {
        let name = quoted(file.path.value)
        guard (0...SnapshotManifest.maximumFileSize).contains(file.size) else {
            throw ManifestError(.invalid, subject, "the size \(file.size) of \(name) is not between 0 and 5 TiB")
        }
        if PenstockPaths.isReserved(file.path) {
            throw ManifestError(
                .invalid,
                subject,
                "\(name) lies in '\(PenstockPaths.directory)', which is Penstock's own"
            )
        }
        if let generation = file.generation { try checkGeneration(generation, subject, name) }
        if file.fileClass == .regular, file.gitOID == nil {
            throw ManifestError(.invalid, subject, "\(name) is a regular file without a git hash")
        }
    }

    /// - Parameter files: in byte order of paths.
    private static func checkNames(_ files: [SnapshotManifest.File]) throws(ManifestError) {
        for (file, next) in zip(files, files.dropFirst()) where file.path == next.path {
            throw ManifestError(.invalid, subject, "\(quoted(file.path.value)) stands in it twice")
        }
        let paths = Set(files.map(\.path))
        var known = Set<[UInt8]>()
        for file in files {
            for directory in file.path.directories.reversed() {
                // A directory that was seen before was checked with everything above it.
                guard known.insert(Array(directory.utf8)).inserted else { break }
                if let path = try? SafePath(directory), paths.contains(path) {
                    throw ManifestError(.invalid, subject, "\(quoted(directory)) is both a file and a directory")
                }
            }
        }
    }

    private static func checkText(_ text: String, _ what: String) throws(ManifestError) {
        guard (1...maximumText).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
            throw ManifestError(.invalid, subject, "its \(what) is empty, too long, or holds control characters")
        }
    }

    static func isLowerHex(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) }

    /// Generations are positive: 0 means "no object" in preconditions, and must never be read out of a record.
    static func checkGeneration(_ generation: Generation, _ subject: String, _ name: String) throws(ManifestError) {
        if generation.value <= 0 {
            throw ManifestError(.invalid, subject, "the generation \(generation) of \(name) is not positive")
        }
    }
}
