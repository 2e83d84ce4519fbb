import Checksums
import LinuxPlatform
package import Manifests
package import ObjectStorage
import TransferEngine

// A writer that overwrites a checkpoint in place destroys the old one before the new one is there. What a record names can be
// copied aside inside of the bucket first: then the old one can be brought back until the new one has its record.

/// Keeps the files of a recorded checkpoint aside, and brings them back.
package struct KeptCopies: Sendable {
    private let catalog: CheckpointCatalog
    private var store: any ObjectStore { catalog.store }
    private var paths: PenstockPaths { catalog.paths }
    private static let width = 16

    package init(_ catalog: CheckpointCatalog) { self.catalog = catalog }

    /// Copies each file that the record names. Repeatable.
    ///
    /// - Throws: `conflict` when one was replaced before it was copied.
    package func keep(_ standing: StandingRecord) async throws(CheckpointError) {
        let name = standing.record.name
        _ = try await mapConcurrently(standing.record.files, limit: Self.width) { file async throws(CheckpointError) in
            do throws(ObjectStoreError) {
                let aside = try paths.checkpointKept(name, file.path, file.generation)
                try await copy(file, to: aside)
            } catch {
                if error.code == .notFound {
                    throw CheckpointError(.conflict, "'\(file.path)' was replaced before it could be kept aside")
                }
                throw CheckpointError(error, while: "keeping '\(file.path)' aside")
            }
        }
    }

    private func copy(_ file: CheckpointRecord.File, to aside: ObjectName) async throws(ObjectStoreError) {
        let source = try paths.prefix.name(file.path.value)
        let found: ObjectAttributes
        do throws(ObjectStoreError) {
            found = try await store.copy(source, file.generation, to: aside, precondition: .absent, metadata: nil)
        } catch {
            guard error.code == .preconditionFailed || error.isTransient else { throw error }
            found = try await store.attributes(aside, generation: nil)
        }
        guard found.size == file.size, found.crc32c == nil || found.crc32c == file.crc32c else {
            throw ObjectStoreError(.integrity, "\(aside) is not the content that it was copied from (CRC32C)")
        }
    }
}

/// What bringing a checkpoint back did.
package struct Recovery: Sendable {
    package let standing: StandingRecord
    /// Files that were brought back under their names.
    package let files: [SafePath]
}

extension KeptCopies {
    private enum Origin: Sendable {
        /// The recorded bytes stand under the name already, as this generation.
        case present(ObjectAttributes)
        /// A copy that was kept aside, or an older version that the bucket still has.
        case copy(ObjectAttributes, over: ObjectAttributes?)
        /// Another content stands there, and may not be replaced.
        case occupied
        case lost
    }

    /// Brings every file back that the record names and that is gone, then records their new generations.
    ///
    /// Nothing is changed unless all can be brought back. Until the new record stands, the old one stays true of the copies;
    /// a second run goes on where the first one ended.
    ///
    /// - Parameter overwrites: what was written under the names since may be replaced.
    /// - Throws: `conflict` when it was, and may not be; `notFound` with what can still be done when files are lost.
    package func recover(
        _ name: CheckpointName,
        overwrites: Bool,
        operation: OperationID
    ) async throws(CheckpointError) -> Recovery {
        let found = try await catalog.recorded(name)
        let files = found.record.files
        let origins = try await mapConcurrently(files, limit: Self.width) { file async throws(CheckpointError) in
            try await origin(of: file, found.objects, overwrites: overwrites)
        }
        try await refuse(name, files, origins)
        let restored = try await mapConcurrently(Array(zip(files, origins)), limit: Self.width) {
            pair async throws(CheckpointError) in
            try await restore(pair.0, pair.1)
        }
        let brought = zip(files, origins).compactMap { file, origin in
            if case .copy = origin { file.path } else { nil }
        }
        guard restored != files else {
            let standing = StandingRecord(record: found.record, generation: found.generation)
            return Recovery(standing: standing, files: [])
        }
        let standing = try await record(found.record, restored, found.generation, operation)
        try await catalog.delete(found.objects.kept)
        return Recovery(standing: standing, files: brought)
    }

    private func origin(
        of file: CheckpointRecord.File,
        _ objects: CheckpointObjects,
        overwrites: Bool
    ) async throws(CheckpointError) -> Origin {
        let current = objects.files[file.path]
        if let current {
            if current.generation == file.generation { return .present(current) }
            // Brought back by an earlier run, or by another tool: the same bytes are the same checkpoint.
            if current.size == file.size, current.crc32c == file.crc32c { return .present(current) }
        }
        if let kept = CheckpointReader.source(of: file, in: objects, paths) {
            return current == nil || overwrites ? .copy(kept, over: current) : .occupied
        }
        do throws(ObjectStoreError) {
            let object = try paths.prefix.name(file.path.value)
            let older = try await store.attributes(object, generation: file.generation)
            return current == nil || overwrites ? .copy(older, over: current) : .occupied
        } catch {
            if error.code == .notFound { return .lost }
            throw CheckpointError(error, while: "looking for an older version of '\(file.path)'")
        }
    }

    private func refuse(
        _ name: CheckpointName,
        _ files: [CheckpointRecord.File],
        _ origins: [Origin]
    ) async throws(CheckpointError) {
        let lost = zip(files, origins).compactMap { file, origin in if case .lost = origin { file } else { nil } }
        if let first = lost.first {
            throw CheckpointError(.notFound, try await advice(name, first, count: lost.count))
        }
        let occupied = zip(files, origins).compactMap { file, origin in
            if case .occupied = origin { file.path } else { nil }
        }
        guard let first = occupied.first else { return }
        throw CheckpointError(
            .conflict,
            "\(occupied.count) files of \(name) were written anew since it was recorded, such as '\(first)'; to replace "
                + "them by what was recorded, make sure that nobody writes them, and give --overwrite"
        )
    }

    private func advice(
        _ name: CheckpointName,
        _ file: CheckpointRecord.File,
        count: Int
    ) async throws(CheckpointError) -> String {
        let gone = "\(count) files of \(catalog.place)/\(name) are gone and were not kept aside, such as '\(file.path)'"
        let layout = try? await store.layout()
        guard let seconds = layout?.softDeleteRetentionSeconds, seconds > 0 else {
            return "\(gone); this bucket keeps no deleted objects either, as far as this account may know"
        }
        let object = "\(store.label)/\(paths.prefix)\(file.path)#\(file.generation)"
        return "\(gone); this bucket keeps deleted objects for \(seconds / 86_400) days: bring each back with "
            + "gcloud storage restore '\(object)', then run the same command again"
    }

    private func restore(
        _ file: CheckpointRecord.File,
        _ origin: Origin
    ) async throws(CheckpointError) -> CheckpointRecord.File {
        let standing: ObjectAttributes
        switch origin {
        case .present(let object): standing = object
        case .copy(let source, let over):
            let precondition = over.map { WritePrecondition.generation($0.generation) } ?? .absent
            standing = try await during("bringing '\(file.path)' back") { () async throws(ObjectStoreError) in
                try await store.copy(
                    source.name,
                    source.generation,
                    to: try paths.prefix.name(file.path.value),
                    precondition: precondition,
                    metadata: nil
                )
            }
        case .occupied, .lost:
            throw CheckpointError(.internal, "'\(file.path)' cannot be brought back")
        }
        guard standing.size == file.size, standing.crc32c == nil || standing.crc32c == file.crc32c else {
            throw CheckpointError(
                .integrity,
                "what was brought back as '\(file.path)' is not what was recorded (CRC32C)"
            )
        }
        return CheckpointRecord.File(
            path: file.path,
            size: file.size,
            crc32c: file.crc32c,
            generation: standing.generation,
            rank: file.rank
        )
    }

    private func record(
        _ old: CheckpointRecord,
        _ files: [CheckpointRecord.File],
        _ generation: Generation,
        _ operation: OperationID
    ) async throws(CheckpointError) -> StandingRecord {
        let record: CheckpointRecord
        let bytes: [UInt8]
        do throws(ManifestError) {
            record = try CheckpointRecord(
                name: old.name,
                created: old.created,
                operation: operation,
                step: old.step,
                metrics: old.metrics,
                writer: old.writer,
                ranks: old.ranks,
                save: old.save,
                files: files
            )
            bytes = try record.encoded()
        } catch {
            throw CheckpointError(error, of: old.name.description)
        }
        let options = WriteOptions(
            .generation(generation),
            contentType: "application/json",
            crc32c: CRC32C.of(bytes),
            mayBeCached: false
        )
        let written = try await during("recording what was brought back of \(old.name)") {
            () async throws(ObjectStoreError) in
            try await store.put(try paths.checkpointRecord(old.name), ByteSegments(bytes), options)
        }
        return StandingRecord(record: record, generation: written.generation)
    }
}
