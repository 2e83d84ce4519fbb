package import LinuxPlatform
package import Manifests
package import ObjectStorage

/// The directories of a snapshot, out of its manifest alone: no listing, and nothing changes until the mount ends.
package final class ManifestDirectories: DirectorySource {
    private let listings: [SafePath: DirectoryListing]
    private let root: DirectoryListing
    package let modified: UnixTime
    package let totals: (files: Int, bytes: Int)

    /// - Throws: `invalidName` when a file's name under the prefix is longer than an object's may be.
    package init(_ manifest: SnapshotManifest, prefix: ObjectPrefix) throws(ObjectStoreError) {
        modified = manifest.created
        totals = (manifest.files.count, manifest.files.reduce(0) { $0 &+ $1.size })
        var directories: [[UInt8]: [EntryName: DirectoryEntry]] = [:]
        for file in manifest.files {
            guard let generation = file.generation, !PenstockPaths.isReserved(file.path) else { continue }
            let facts = FileFacts(
                object: try prefix.name(file.path.value),
                generation: generation,
                size: file.size,
                modified: manifest.created,
                crc32c: file.crc32c,
                sha256: "\(file.sha256)",
                commit: manifest.source.commit,
                hasTable: true
            )
            Self.add(file.path, facts, modified: manifest.created, to: &directories)
        }
        var listings: [SafePath: DirectoryListing] = [:]
        for (path, entries) in directories where !path.isEmpty {
            let path = try SafePath(String(decoding: path, as: UTF8.self))
            let base = prefix.value + path.value + "/"
            listings[path] = DirectoryListing(Array(entries.values), below: base, validUntil: .distantFuture)
        }
        self.listings = listings
        let top = Array((directories[[]] ?? [:]).values)
        root = DirectoryListing(top, below: prefix.value, validUntil: .distantFuture)
    }

    private static func add(
        _ path: SafePath,
        _ facts: FileFacts,
        modified: UnixTime,
        to directories: inout [[UInt8]: [EntryName: DirectoryEntry]]
    ) {
        var parent: [UInt8] = []
        let segments = path.segments
        for (depth, segment) in segments.enumerated() {
            guard let name = EntryName(String(segment)) else { return }
            if depth == segments.count - 1 {
                directories[parent, default: [:]][name] = DirectoryEntry(file: facts, name: name)
            } else {
                if directories[parent]?[name] == nil {
                    directories[parent, default: [:]][name] = DirectoryEntry(directory: name, modified: modified)
                }
                parent += (parent.isEmpty ? [] : [0x2F]) + Array(segment.utf8)
            }
        }
    }

    package var isFixed: Bool { true }

    package func known(_ path: String) -> DirectoryListing? {
        if path.isEmpty { return root }
        return (try? SafePath(path)).flatMap { listings[$0] }
    }

    package func load(
        _ path: String,
        _ completion: @escaping @Sendable (Result<DirectoryListing, FilesystemError>) -> Void
    ) {
        completion(known(path).map { .success($0) } ?? .failure(.noEntry))
    }
}
