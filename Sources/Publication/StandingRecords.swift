package import Manifests
package import ObjectStorage

// Reading the records that stand under a prefix.

extension SnapshotManifest {
    /// The manifest under a prefix, proven by its own checksum; nil when there is none.
    ///
    /// - Throws: `record` when it cannot be read: changed, cut short, or written by a newer version.
    package static func standing(
        _ store: any ObjectStore,
        _ paths: PenstockPaths
    ) async throws(PublicationError) -> (attributes: ObjectAttributes, manifest: SnapshotManifest)? {
        try await standingRecord(
            store,
            paths,
            limit: maximumBytes,
            { () throws(ObjectStoreError) in try paths.manifest }
        ) {
            bytes throws(ManifestError) in try SnapshotManifest(decoding: bytes)
        }
        .map { ($0.attributes, $0.record) }
    }
}

extension PublicationIntent {
    /// The intent under a prefix, proven by its own checksum; nil when nothing is being published.
    ///
    /// - Throws: `record` when it cannot be read: changed, cut short, or written by a newer version.
    package static func standing(
        _ store: any ObjectStore,
        _ paths: PenstockPaths
    ) async throws(PublicationError) -> (attributes: ObjectAttributes, intent: PublicationIntent)? {
        try await standingRecord(store, paths, limit: maximumBytes, { () throws(ObjectStoreError) in try paths.intent })
        {
            bytes throws(ManifestError) in try PublicationIntent(decoding: bytes)
        }
        .map { ($0.attributes, $0.record) }
    }
}

private func standingRecord<Record: Sendable>(
    _ store: any ObjectStore,
    _ paths: PenstockPaths,
    limit: Int,
    _ name: () throws(ObjectStoreError) -> ObjectName,
    _ decode: ([UInt8]) throws(ManifestError) -> Record
) async throws(PublicationError) -> (attributes: ObjectAttributes, record: Record)? {
    var lastComplaint: ManifestError?
    // A bad wire is told from a bad record by reading once more.
    for _ in 0..<2 {
        let found: (attributes: ObjectAttributes, bytes: [UInt8])
        do throws(ObjectStoreError) {
            found = try await store.contents(try name(), generation: nil, limit: limit)
        } catch {
            if error.code == .notFound { return nil }
            throw PublicationError(error, while: "reading the records of \(store.label)/\(paths.prefix)")
        }
        do throws(ManifestError) {
            return (found.attributes, try decode(found.bytes))
        } catch {
            lastComplaint = error
        }
    }
    let complaint = lastComplaint.map(\.description) ?? "unreadable"
    throw PublicationError(.record, "a record under \(store.label)/\(paths.everything) cannot be used: \(complaint)")
}
