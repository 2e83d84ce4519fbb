import Checksums
import LinuxPlatform
import LocalStorage
import Manifests
import ObjectStorage

/// Puts a snapshot into a directory as a conveyance leaves it there.
struct StoredSnapshot {
    let store: LocalObjectStore

    init(_ path: String) throws { store = try LocalObjectStore(path, isDurable: false) }

    @discardableResult
    func put(_ name: String, _ bytes: [UInt8]) async throws -> ObjectAttributes {
        try await store.put(ObjectName(name), ByteSegments(bytes), WriteOptions(.any, crc32c: CRC32C.of(bytes)))
    }

    /// - Parameters:
    ///   - files: paths and contents. No dictionary: its keys would be equal when two spellings are.
    ///   - stored: what is really there, where it is not what the manifest says.
    func publish(_ files: [(String, [UInt8])], stored: [String: [UInt8]] = [:]) async throws {
        let paths = PenstockPaths(ObjectPrefix(""))
        var described: [SnapshotManifest.File] = []
        for (path, bytes) in files {
            let attributes = try await put(path, stored[path] ?? bytes)
            let digest = SHA256Digest.of(bytes)
            try await put(paths.crcTable(digest).value, try table(bytes).encoded())
            described.append(
                .init(
                    path: try SafePath(path),
                    size: bytes.count,
                    sha256: digest,
                    crc32c: CRC32C.of(bytes),
                    generation: attributes.generation,
                    fileClass: .lfs
                )
            )
        }
        let manifest = try SnapshotManifest(
            source: .init(
                endpoint: "https://huggingface.co",
                repository: "acme/tiny",
                type: .model,
                revision: "main",
                commit: String(repeating: "c0", count: 20)
            ),
            created: UnixTime(seconds: 1_700_000_000),
            operation: .random(),
            files: described
        )
        try await put(paths.manifest.value, try manifest.encoded())
    }

    private func table(_ bytes: [UInt8]) throws -> CRCTable {
        let size = CRCTable.granuleSize
        let granules = stride(from: 0, to: bytes.count, by: size).map { offset in
            CRC32C.of(Array(bytes[offset..<min(offset + size, bytes.count)]))
        }
        return try CRCTable(granules: granules, size: bytes.count)
    }
}
