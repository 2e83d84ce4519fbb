import Checksums
import LinuxPlatform
package import Manifests
package import ObjectStorage
import TransferEngine

// Publishing: from staged, verified files to a prefix that readers see as one version.
//
//   staged ──▶ intent ──▶ kept aside ──▶ published ──▶ recorded ──▶ cleaned up
//
// The intent holds everything the later steps need, so whoever finds one can finish it; every step looks at what is
// there and does only what is missing, so it may be done any number of times, by several processes at once. Invariants:
//
// 1. Nothing changes outside of `.penstock/` before the intent stands.
// 2. A file that the old manifest names is copied to `replaced/` before its name gets a new content.
// 3. A name gets a new content only if it holds exactly what the intent says, or nothing if it says nothing.
// 4. The manifest is written only after every file it names stood under its name with the proven CRC32C.
// 5. Temporary objects go only after the manifest stands, and the intent goes last.
//
// So at every moment the manifest that stands is true: each file it names is under its name in the named generation, or
// in `replaced/`.

/// Publishes what has been staged under one prefix.
package struct Publisher: Sendable {
    let store: any ObjectStore
    let paths: PenstockPaths
    let lease: LeaseKeeper
    /// Store operations on their way at once.
    private static let width = 16

    package init(_ store: any ObjectStore, _ paths: PenstockPaths, _ lease: LeaseKeeper) {
        self.store = store
        self.paths = paths
        self.lease = lease
    }

    /// Records the intent, then carries it out.
    ///
    /// - Returns: the manifest as it was written.
    /// - Throws: `conflict` when somebody else's change stands in the way: nothing of theirs was touched.
    package func publish(_ intent: PublicationIntent) async throws(PublicationError) -> SnapshotManifest {
        try await lease.ensureHeld()
        let record = try encoded { () throws(ManifestError) in try intent.encoded() }
        let options = WriteOptions(
            .absent,
            contentType: "application/json",
            crc32c: CRC32C.of(record),
            mayBeCached: false
        )
        let written = try await during("recording what is to be published under \(place)") {
            () async throws(ObjectStoreError) in
            try await store.put(try paths.intent, ByteSegments(record), options)
        }
        return try await finish(intent, recordedAs: written.generation)
    }

    /// Carries out an intent, this run's or one that was found.
    package func finish(
        _ intent: PublicationIntent,
        recordedAs generation: Generation
    ) async throws(PublicationError) -> SnapshotManifest {
        if let standing = try await recordedManifest(of: intent) {
            try await cleanUp(intent, generation)
            return standing
        }
        _ = try await mapConcurrently(intent.keepAside, limit: Self.width) { file async throws(PublicationError) in
            try await keepAside(file)
        }
        try await lease.ensureHeld()
        let shared = Dictionary(grouping: intent.publish, by: \.staged).filter { $1.count > 1 }.keys
        let published = try await mapConcurrently(intent.publish.filter { !intent.isMarker($0) }, limit: Self.width) {
            file async throws(PublicationError) in
            (file.path, try await publish(file, keepsStaged: shared.contains(file.staged)).generation)
        }
        // Markers say to other tools that the files are there, so they come after them.
        let markers = try await mapConcurrently(intent.publish.filter(intent.isMarker), limit: 1) {
            file async throws(PublicationError) in
            (file.path, try await publish(file, keepsStaged: shared.contains(file.staged)).generation)
        }
        let generations = Dictionary(published + markers, uniquingKeysWith: { first, _ in first })
        let manifest = try await record(intent, generations)
        try await cleanUp(intent, generation)
        return manifest
    }

    private var place: String { "\(store.label)/\(paths.prefix)" }

    private func encoded<Value>(
        _ encode: () throws(ManifestError) -> Value
    ) throws(PublicationError) -> Value {
        do throws(ManifestError) {
            return try encode()
        } catch {
            throw PublicationError(.record, "\(place): \(error)")
        }
    }
}

// MARK: - Keeping aside

extension Publisher {
    /// Copies a file of the old version to where readers of the old manifest will look for it.
    private func keepAside(_ file: PublicationIntent.Replaced) async throws(PublicationError) {
        try await during("keeping the replaced \(file.path) aside") { () async throws(ObjectStoreError) in
            let aside = try paths.replaced(file.sha256)
            do throws(ObjectStoreError) {
                let copy = try await store.copy(
                    try paths.prefix.name(file.path.value),
                    file.generation,
                    to: aside,
                    precondition: .absent,
                    metadata: nil
                )
                guard copy.crc32c == file.crc32c else {
                    try await store.delete(aside, copy.generation)
                    throw ObjectStoreError(.integrity, "\(file.path) is not what the manifest says (CRC32C)")
                }
            } catch {
                // Already there, or replaced by an earlier try, which kept it aside first.
                guard error.code == .preconditionFailed || error.code == .notFound else { throw error }
                let kept = try await store.attributes(aside, generation: nil)
                guard kept.crc32c == file.crc32c else {
                    throw ObjectStoreError(.integrity, "\(aside) is not the content it is named after (CRC32C)")
                }
            }
        }
    }
}

// MARK: - Publishing a file

extension Publisher {
    /// Gives a staged file its name.
    ///
    /// - Parameter keepsStaged: another file of the intent has the same content and needs the staged object too.
    private func publish(
        _ file: PublicationIntent.Publishing,
        keepsStaged: Bool
    ) async throws(PublicationError) -> ObjectAttributes {
        let name: ObjectName
        do throws(ObjectStoreError) {
            name = try paths.prefix.name(file.path.value)
        } catch {
            throw PublicationError(error, while: "publishing \(file.path)")
        }
        let published: ObjectAttributes
        do throws(ObjectStoreError) {
            published = try await give(name, file, keepsStaged: keepsStaged)
        } catch {
            guard error.code == .preconditionFailed || error.code == .notFound else {
                throw PublicationError(error, while: "publishing \(file.path)")
            }
            published = try await settled(name, file)
        }
        guard published.size == file.size, published.crc32c == nil || published.crc32c == file.crc32c else {
            throw PublicationError(.integrity, "\(file.path) was published with another CRC32C than was proven")
        }
        return published
    }

    private func give(
        _ name: ObjectName,
        _ file: PublicationIntent.Publishing,
        keepsStaged: Bool
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let precondition = file.expected.map { WritePrecondition.generation($0) } ?? .absent
        let staged = try paths.prefix.name(file.staged.value)
        if !keepsStaged {
            do throws(ObjectStoreError) {
                return try await store.move(staged, file.stagedGeneration, to: name, precondition: precondition)
            } catch {
                if error.code != .unsupported { throw error }
            }
        }
        // Where the store cannot move, a copy on its side; the staged object goes in the clean-up.
        return try await store.copy(
            staged,
            file.stagedGeneration,
            to: name,
            precondition: precondition,
            metadata: nil
        )
    }

    /// Somebody was there first: an earlier try of ours, another process with the same snapshot, or a stranger.
    private func settled(
        _ name: ObjectName,
        _ file: PublicationIntent.Publishing
    ) async throws(PublicationError) -> ObjectAttributes {
        let doing = "looking at what stands under \(name)"
        let found: ObjectAttributes
        do throws(ObjectStoreError) {
            found = try await store.attributes(name, generation: nil)
        } catch {
            if error.code == .notFound {
                let message = "the staged content of \(file.path) is gone and nothing stands under its name; "
                throw PublicationError(.conflict, message + "run the same command again to fetch it anew")
            }
            throw PublicationError(error, while: doing)
        }
        let isOurs =
            found.size == file.size && found.crc32c == file.crc32c
            && found.metadata[MetadataKey.sha256] == file.sha256.description
        if isOurs { return found }
        let message = "\(store.label)/\(name) was changed by somebody else while it was being replaced; "
        throw PublicationError(.conflict, message + "nothing of theirs was touched: move it away or use --overwrite")
    }
}

// MARK: - The record

extension Publisher {
    /// The manifest that stands, when it is this intent's.
    private func recordedManifest(of intent: PublicationIntent) async throws(PublicationError) -> SnapshotManifest? {
        do throws(PublicationError) {
            guard let (_, manifest) = try await SnapshotManifest.standing(store, paths) else { return nil }
            return manifest.operation == intent.operation ? manifest : nil
        } catch {
            // One that cannot be read is not ours; whether it may be replaced is for the precondition to say.
            guard error.code == .record || error.code == .integrity else { throw error }
            return nil
        }
    }

    private func record(
        _ intent: PublicationIntent,
        _ generations: [SafePath: Generation]
    ) async throws(PublicationError) -> SnapshotManifest {
        try await lease.ensureHeld()
        let (manifest, bytes) = try encoded { () throws(ManifestError) in
            let manifest = try intent.manifest.completed(with: generations)
            return (manifest, try manifest.encoded())
        }
        let precondition = intent.previousManifest.map { WritePrecondition.generation($0) } ?? .absent
        let options = WriteOptions(
            precondition,
            contentType: "application/json",
            crc32c: CRC32C.of(bytes),
            mayBeCached: false
        )
        do throws(ObjectStoreError) {
            _ = try await store.put(try paths.manifest, ByteSegments(bytes), options)
            return manifest
        } catch {
            if error.code == .preconditionFailed {
                if let ours = try await recordedManifest(of: intent) { return ours }
                let message = "the manifest of \(place) was replaced by somebody else while this one was published; "
                throw PublicationError(.conflict, message + "run the same command again")
            }
            throw PublicationError(error, while: "writing the manifest of \(place)")
        }
    }
}

// MARK: - Cleaning up

extension Publisher {
    /// Takes away what the operation needed and nobody needs any more; the intent last.
    private func cleanUp(
        _ intent: PublicationIntent,
        _ generation: Generation
    ) async throws(PublicationError) {
        let listing = try await during("cleaning up \(place)") { () async throws(ObjectStoreError) in
            try await DestinationListing(store, paths)
        }
        try await delete(listing.temporaries)
        for path in intent.prune {
            guard let object = listing.files[path.path], object.generation == path.generation else { continue }
            try await delete([object])
        }
        try await during("removing the intent of \(place)") { () async throws(ObjectStoreError) in
            try await store.delete(try paths.intent, generation)
        }
    }

    /// Deletes exactly these generations.
    package func delete(_ objects: [ObjectAttributes]) async throws(PublicationError) {
        _ = try await mapConcurrently(objects, limit: Self.width) { object async throws(PublicationError) in
            try await during("removing \(object.name)") { () async throws(ObjectStoreError) in
                try await store.delete(object.name, object.generation)
            }
        }
    }
}

extension PublicationIntent {
    /// Whether a file was made for the layout, such as the `refs/main` of a cache directory.
    fileprivate func isMarker(_ file: Publishing) -> Bool { manifest.file(at: file.path)?.fileClass == .generated }
}

extension DestinationListing {
    /// Parts, hash states and staged files: of use to one transfer only.
    package var temporaries: [ObjectAttributes] {
        [parts, states, uploadStates, staged].flatMap { $0.values.flatMap(\.self) }
    }
}
