import Checksums
package import LinuxPlatform
package import Manifests
package import ObjectStorage

/// What is of no use to anybody any more under one prefix.
package struct Garbage: Sendable {
    package var objects: [ObjectAttributes]
    /// Multipart uploads that nobody will complete. How many bytes they hold is not known.
    package var uploads: [MultipartUpload]
}

/// Finds and removes garbage under one prefix.
///
/// Only with the lease: nobody else is at work then, so parts, hash states, staged files and uploads are leftovers,
/// unless an intent stands: then staged files are what finishing it needs. Replaced files go when they have been kept long enough; CRC
/// tables when neither the manifest nor a replaced file has their content.
///
/// Mounts that write hold no lease. Pieces of what they write go after `writtenLife`: whose mount lives still has the bytes on its
/// own disk until they are published, and sends them again. What mounts have parked is never garbage here: it may be the only
/// copy of a file, and how long its mount stays away nobody can say.
package struct GarbageCollector: Sendable {
    /// How old a piece of a mount's file must be, by the server's clock. An upload session, which is what makes pieces, lives a week.
    ///
    /// Source: Cloud Storage, "Resumable uploads".
    package static let writtenLife = Duration.seconds(7 * 86_400)

    /// The objects that are garbage, by what the listing, the manifest and the clock say. Pure.
    package static func garbage(
        _ listing: DestinationListing,
        _ manifest: SnapshotManifest?,
        keepReplaced: Duration,
        now: UnixTime
    ) -> [ObjectAttributes] {
        var garbage = listing.intent == nil ? listing.temporaries : []
        var wanted = Set((manifest?.files ?? []).map(\.sha256.description))
        for (content, object) in listing.replaced {
            let since = object.updated ?? object.created ?? now
            // The server's clock has whole seconds: what was kept aside in this one has a negative age.
            if since.duration(to: now) >= keepReplaced || keepReplaced <= .zero {
                garbage.append(object)
            } else {
                wanted.insert(content)
            }
        }
        if listing.intent == nil {
            garbage += listing.crcTables.filter { !wanted.contains($0.key) }.values
        }
        // The time of its creation: nothing ever changes a piece. One without a time is left alone.
        garbage += listing.written.filter { piece in
            (piece.created ?? piece.updated).map { $0.duration(to: now) >= writtenLife } ?? false
        }
        return garbage.sorted { $0.name < $1.name }
    }

    private let store: any ObjectStore
    private let paths: PenstockPaths
    private let keepReplaced: Duration

    package init(_ store: any ObjectStore, _ paths: PenstockPaths, keepReplaced: Duration) {
        self.store = store
        self.paths = paths
        self.keepReplaced = keepReplaced
    }

    /// Removes the garbage; the caller holds the lease.
    ///
    /// - Returns: what was removed.
    package func collect(_ publisher: Publisher) async throws(PublicationError) -> Garbage {
        let garbage = try await find()
        try await publisher.delete(garbage.objects)
        for upload in garbage.uploads {
            try await during("dropping an upload of \(upload.name)") { () async throws(ObjectStoreError) in
                try await store.abortMultipart(upload)
            }
        }
        return garbage
    }

    /// What `collect` would remove now; for `--dry-run`.
    package func find() async throws(PublicationError) -> Garbage {
        let (listing, now) = try await during("listing \(store.label)/\(paths.prefix)") {
            () async throws(ObjectStoreError) in
            (try await DestinationListing(store, paths), try await store.serverTime())
        }
        let manifest = listing.manifest == nil ? nil : try await SnapshotManifest.standing(store, paths)?.manifest
        return Garbage(
            objects: Self.garbage(listing, manifest, keepReplaced: keepReplaced, now: now),
            uploads: try await uploads()
        )
    }

    /// None where the store has no multipart uploads, or we may not list them: then it was not we who began them.
    private func uploads() async throws(PublicationError) -> [MultipartUpload] {
        do throws(ObjectStoreError) {
            return try await store.multipartUploads(prefix: paths.allStaged)
        } catch {
            switch error.code {
            case .unsupported, .invalidRequest, .protocolViolation, .notFound, .forbidden: return []
            default: throw PublicationError(error, while: "listing the uploads of \(store.label)/\(paths.prefix)")
            }
        }
    }
}
