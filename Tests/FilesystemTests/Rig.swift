import BlockCache
import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Synchronization
import Telemetry
import TestSupport

@testable import Filesystem

/// A filesystem over a bucket in memory, with its log kept.
struct Rig {
    let bucket: MemoryBucket
    let store: MemoryObjectStore
    let filesystem: Filesystem
    let lines: Lines

    /// By listing, believed for `timeToLive`.
    init(bucket: MemoryBucket, prefix: String = "", timeToLive: Duration = .zero) throws {
        let lines = Lines()
        let log = Log(sink: lines)
        let store = MemoryObjectStore(bucket)
        let prefix = ObjectPrefix(prefix)
        let source = ListedDirectories(
            store: store,
            prefix: prefix,
            timeToLive: timeToLive,
            time: bucket.time,
            log: log
        )
        try self.init(bucket, store, source, prefix, lines)
    }

    /// By manifest.
    init(bucket: MemoryBucket, prefix: String = "", manifest: SnapshotManifest, budget: Int = 8 << 20) throws {
        let store = MemoryObjectStore(bucket)
        let prefix = ObjectPrefix(prefix)
        try self.init(bucket, store, ManifestDirectories(manifest, prefix: prefix), prefix, Lines(), budget: budget)
    }

    private init(
        _ bucket: MemoryBucket,
        _ store: MemoryObjectStore,
        _ source: any DirectorySource,
        _ prefix: ObjectPrefix,
        _ lines: Lines,
        budget: Int = 8 << 20
    ) throws {
        let log = Log(sink: lines)
        self.lines = lines
        self.bucket = bucket
        self.store = store
        filesystem = try Filesystem(
            source: source,
            opener: StoredContents(store: store, prefix: prefix, log: log),
            cache: BlockCache(budget: budget, log: log),
            options: .init(source: "memory://bucket", socket: "/run/here")
        )
    }

    func lookup(_ parent: NodeID, _ name: String) async throws(FilesystemError) -> NodeAttributes {
        guard let attributes = try await found(parent, name).attributes else { throw .noEntry }
        return attributes
    }

    func found(_ parent: NodeID, _ name: String) async throws(FilesystemError) -> FoundName {
        try await answer { filesystem.lookup(parent, name, $0) }
    }

    /// Looks up every name of the path.
    func walk(_ path: String) async throws(FilesystemError) -> NodeAttributes {
        var attributes = try filesystem.attributes(.root)
        for name in path.split(separator: "/") { attributes = try await lookup(attributes.node, String(name)) }
        return attributes
    }

    func open(_ node: NodeID) async throws(FilesystemError) { try await answer { filesystem.open(node, $0) } }

    func target(_ node: NodeID) async throws(FilesystemError) -> String {
        try await answer { filesystem.linkTarget(node, $0) }
    }

    func names(_ node: NodeID) async throws(FilesystemError) -> [String] {
        let opened = try await answer { filesystem.openDirectory(node, $0) }
        defer { filesystem.releaseDirectory(opened.handle) }
        return try await answer { filesystem.directory(opened.handle, node, $0) }.entries.map(\.name.value)
    }

    /// Opens a directory and closes it.
    func opened(_ node: NodeID) async throws(FilesystemError) -> Filesystem.OpenedDirectory {
        let opened = try await answer { filesystem.openDirectory(node, $0) }
        filesystem.releaseDirectory(opened.handle)
        return opened
    }

    func read(_ node: NodeID, _ offset: Int, _ count: Int) async throws(FilesystemError) -> [UInt8] {
        try await answer { (completion: @escaping Filesystem.Completion<[UInt8]>) in
            filesystem.read(filesystem.newRead(), node, offset: offset, count: count) { result in
                completion(result.map { $0.flatMap(Array.init) })
            }
        }
    }

    private func answer<Value: Sendable>(
        _ ask: (@escaping Filesystem.Completion<Value>) -> Void
    ) async throws(FilesystemError) -> Value {
        let result = await withCheckedContinuation { continuation in ask { continuation.resume(returning: $0) } }
        return try result.get()
    }

    /// Log lines, in order.
    final class Lines: LogSink {
        private let all = Lock([String]())
        func write(_ line: String) { all.withLock { $0.append(line) } }
        func containing(_ text: String) -> [String] { all.withLock { $0.filter { $0.contains(text) } } }
    }
}

/// A snapshot in a bucket, as a conveyance leaves it.
struct PlantedSnapshot {
    let bucket: MemoryBucket
    let manifest: SnapshotManifest

    init(_ files: [String: [UInt8]], prefix: String = "", in bucket: MemoryBucket = MemoryBucket()) throws {
        self.bucket = bucket
        let paths = PenstockPaths(ObjectPrefix(prefix))
        var described: [SnapshotManifest.File] = []
        for (path, bytes) in files {
            let stored = try bucket.plant(ObjectPrefix(prefix).name(path).value, bytes)
            let digest = SHA256Digest.of(bytes)
            try bucket.plant(paths.crcTable(digest).value, CRCTable.of(bytes).encoded())
            described.append(
                .init(
                    path: try SafePath(path),
                    size: bytes.count,
                    sha256: digest,
                    crc32c: CRC32C.of(bytes),
                    generation: stored.generation,
                    fileClass: .lfs
                )
            )
        }
        manifest = try SnapshotManifest(
            source: .init(
                endpoint: "https://huggingface.co",
                repository: "acme/tiny",
                type: .model,
                revision: "main",
                commit: String(repeating: "ab", count: 20)
            ),
            created: UnixTime(seconds: 1_700_000_000),
            operation: .random(),
            files: described
        )
    }
}

extension CRCTable {
    static func of(_ bytes: [UInt8]) throws -> CRCTable {
        let granules = stride(from: 0, to: bytes.count, by: granuleSize).map { offset in
            CRC32C.of(Array(bytes[offset..<min(offset + granuleSize, bytes.count)]))
        }
        return try CRCTable(granules: granules, size: bytes.count)
    }
}
