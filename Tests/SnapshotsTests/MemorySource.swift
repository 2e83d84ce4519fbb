import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import TestSupport

/// A repository in memory, with a count of what was fetched from it, and a hook to send something else.
final class MemorySource: SnapshotSource {
    let origin: SnapshotManifest.Source
    let filters = SnapshotManifest.Filters()
    let layout: SnapshotManifest.Layout
    let files: [SourceFile]
    private let contents: [SafePath: [UInt8]]
    private let fetched = Lock(0)
    private let tamper: @Sendable (SafePath, inout [UInt8]) -> Void

    init(
        _ contents: [String: [UInt8]],
        commit: Character = "a",
        layout: SnapshotManifest.Layout = .plain,
        tamper: @escaping @Sendable (SafePath, inout [UInt8]) -> Void = { _, _ in }
    ) throws {
        origin = SnapshotManifest.Source(
            endpoint: "https://hub.example",
            repository: "acme/tiny",
            type: .model,
            revision: "main",
            commit: String(repeating: commit, count: 40)
        )
        self.layout = layout
        self.tamper = tamper
        var byPath: [SafePath: [UInt8]] = [:]
        for (path, bytes) in contents { byPath[try SafePath(path)] = bytes }
        self.contents = byPath
        files = byPath.map { path, bytes in
            // As on the Hub: large files are known by SHA-256, small ones by their git hash.
            let hash: ContentHash =
                bytes.count > 1 << 20 ? .sha256(SHA256Digest.of(bytes)) : .git(SHA1Digest.ofGitBlob(bytes))
            return SourceFile(path: path, size: bytes.count, hash: hash)
        }
        .sorted { $0.path < $1.path }
    }

    /// Bytes that were read from any file.
    var fetchedBytes: Int { fetched.withLock { $0 } }

    func open(_ file: SourceFile) async throws(SnapshotError) -> any RangedSource {
        var bytes = contents[file.path] ?? []
        tamper(file.path, &bytes)
        return CountingSource(BytesSource(bytes, label: file.path.value)) { count in
            self.fetched.withLock { $0 += count }
        }
    }
}

private final class CountingSource: RangedSource {
    private let base: BytesSource
    private let count: @Sendable (Int) -> Void

    init(_ base: BytesSource, count: @escaping @Sendable (Int) -> Void) {
        self.base = base
        self.count = count
    }

    var size: Int { base.size }
    var label: String { base.label }

    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        count(read.range.count)
        return base.read(read, completion: completion)
    }
}
