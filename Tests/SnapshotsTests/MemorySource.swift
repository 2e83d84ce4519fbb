import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import TestSupport

/// A repository in memory, with a count of what was fetched from it, a byte that is wrong in the first read that holds
/// it, and a hook to have other content.
final class MemorySource: SnapshotSource {
    let origin: SnapshotManifest.Source
    let filters = SnapshotManifest.Filters()
    let layout: SnapshotManifest.Layout
    let files: [SourceFile]
    private let contents: [SafePath: [UInt8]]
    private let fetched = Lock(0)
    private let tamper: @Sendable (SafePath, inout [UInt8]) -> Void
    private let misread: Lock<(path: String, offset: Int)?>

    init(
        _ contents: [String: [UInt8]],
        commit: Character = "a",
        layout: SnapshotManifest.Layout = .plain,
        misreadOnce: (path: String, offset: Int)? = nil,
        tamper: @escaping @Sendable (SafePath, inout [UInt8]) -> Void = { _, _ in }
    ) throws {
        misread = Lock(misreadOnce)
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
        var wrong = bytes
        let flipped = misread.withLock { $0?.path == file.path.value ? $0?.offset : nil }
        if let flipped { wrong[flipped] ^= 0x10 }
        let (right, misreading) = (
            BytesSource(bytes, label: file.path.value), BytesSource(wrong, label: file.path.value)
        )
        return ChoosingSource(right) { range in
            self.fetched.withLock { $0 += range.count }
            guard let flipped, flipped >= range.offset, flipped < range.end else { return right }
            let isFirst = self.misread.withLock { misread in
                defer { misread = nil }
                return misread != nil
            }
            return isFirst ? misreading : right
        }
    }
}

/// Reads from the source that is chosen for each range.
private final class ChoosingSource: RangedSource {
    private let base: BytesSource
    private let choose: @Sendable (ByteRange) -> BytesSource

    init(_ base: BytesSource, choose: @escaping @Sendable (ByteRange) -> BytesSource) {
        self.base = base
        self.choose = choose
    }

    var size: Int { base.size }
    var label: String { base.label }

    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        choose(read.range).read(read, completion: completion)
    }
}
