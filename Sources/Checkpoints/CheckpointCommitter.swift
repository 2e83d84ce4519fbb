import Checksums
package import LinuxPlatform
package import Manifests
import ObjectStorage
import TransferEngine

/// Records that a checkpoint is whole.
package struct CheckpointCommitter: Sendable {
    private let catalog: CheckpointCatalog
    private var store: any ObjectStore { catalog.store }
    private var paths: PenstockPaths { catalog.paths }

    package init(_ catalog: CheckpointCatalog) { self.catalog = catalog }

    /// Commits, or commits this rank's share. Repeatable: what stands already is not written again.
    ///
    /// - Throws: `incomplete` with every reason; `conflict` when somebody else changed the same checkpoint.
    package func commit(_ request: CommitRequest) async throws(CheckpointError) -> CommitOutcome {
        var machine = CommitProtocol(request)
        while let step = machine.next {
            machine.received(try await perform(step, of: request.name))
        }
        switch machine.outcome {
        case .failed(let error): throw error
        case let outcome?: return outcome
        case nil: throw CheckpointError(.internal, "a commit of \(request.name) ended without a result")
        }
    }

    /// Commits a checkpoint whose writer is done, for whoever put its files into the bucket and knows that they all are there.
    ///
    /// - Parameters:
    ///   - written: files below it that were written since it was looked at last. A marker counts when it is among them: that of an
    ///     earlier save says nothing of files that were overwritten since.
    ///   - isWhole: its writer has said so otherwise, by giving the directory its last name.
    /// - Returns: nil when nobody says that it is done, or something speaks against it.
    /// - Throws: `conflict` when somebody else changed the same checkpoint; what the store says.
    package func commitWhenDone(
        _ name: CheckpointName,
        written: Set<String>,
        isWhole: Bool,
        at now: UnixTime
    ) async throws(CheckpointError) -> CommitOutcome? {
        // Most directories are no checkpoints: they cost no request.
        guard isWhole || written.contains(where: catalog.rules.canMark) else { return nil }
        guard let (_, evidence) = try await catalog.candidate(name), evidence.complaints.isEmpty else { return nil }
        let isMarked = evidence.marker.map(written.contains) ?? false
        // What was renamed and is no trainer's is no checkpoint.
        guard isMarked || isWhole && (evidence.writer != nil || evidence.step != nil) else { return nil }
        do throws(CheckpointError) {
            return try await commit(CommitRequest(name: name, operation: .random(), created: now))
        } catch {
            if error.code == .incomplete { return nil }
            throw error
        }
    }

    /// Takes the record of a checkpoint away that its trainer has removed, before its files go.
    ///
    /// - Throws: what the store says.
    package func withdraw(_ name: CheckpointName) async throws(CheckpointError) {
        if let record = try await catalog.recordObject(name) { try await catalog.delete([record]) }
    }

    private func perform(_ step: CommitStep, of name: CheckpointName) async throws(CheckpointError) -> CommitReply {
        switch step {
        case .readRemoval: return .removal(isStanding: try await catalog.hasRemoval(name))
        case .readRecord: return try await readRecord(name)
        case .look: return .candidate(try await look(name))
        case .writeShare(let share, let precondition):
            let bytes = try encoded(name) { () throws(ManifestError) in try share.encoded() }
            return try await write(bytes, precondition) { () throws(ObjectStoreError) in
                try paths.checkpointShare(name, share.save, rank: share.rank)
            }
        case .listShares(let save): return .shares(ranks: try await ranks(name, save))
        case .readShare(let save, let rank): return try await readShare(name, save, rank)
        case .writeRecord(let record, let precondition):
            let bytes = try encoded(name) { () throws(ManifestError) in try record.encoded() }
            return try await write(bytes, precondition) { () throws(ObjectStoreError) in
                try paths.checkpointRecord(name)
            }
        case .deleteRecord(let generation):
            try await during("withdrawing the record of \(name)") { () async throws(ObjectStoreError) in
                try await store.delete(try paths.checkpointRecord(name), generation)
            }
            return .done
        case .cleanUp(let standing):
            try await cleanUp(standing)
            return .done
        }
    }

    private func encoded(
        _ name: CheckpointName,
        _ encode: () throws(ManifestError) -> [UInt8]
    ) throws(CheckpointError) -> [UInt8] {
        do throws(ManifestError) { return try encode() } catch { throw CheckpointError(error, of: name.description) }
    }

    private func write(
        _ bytes: [UInt8],
        _ precondition: WritePrecondition,
        _ name: () throws(ObjectStoreError) -> ObjectName
    ) async throws(CheckpointError) -> CommitReply {
        let options = WriteOptions(
            precondition,
            contentType: "application/json",
            crc32c: CRC32C.of(bytes),
            mayBeCached: false
        )
        do throws(ObjectStoreError) {
            return .written(try await store.put(try name(), ByteSegments(bytes), options).generation)
        } catch {
            if error.code == .preconditionFailed { return .refused }
            // The generation of the precondition is gone: also refused.
            if error.code == .notFound, precondition != .absent { return .refused }
            if error.isTransient { return .unknown(error.description) }
            throw CheckpointError(error, while: "writing a record of \(catalog.place)")
        }
    }

    private func readRecord(_ name: CheckpointName) async throws(CheckpointError) -> CommitReply {
        guard let object = try await catalog.recordObject(name) else { return .record(nil) }
        switch try await catalog.standing(object) {
        case .readable(let standing): return .record(standing)
        case .unreadable: return .unreadable(object.generation)
        case .gone: return try await readRecord(name)
        }
    }

    /// The ranks whose shares stand.
    private func ranks(_ name: CheckpointName, _ save: SaveID) async throws(CheckpointError) -> [Int] {
        let prefix = paths.checkpointShares(name, save)
        let listed = try await during("listing the shares of \(name)") { () async throws(ObjectStoreError) in
            try await store.listAll(prefix: prefix)
        }
        return listed.compactMap {
            Int(String(decoding: $0.name.value.utf8.dropFirst(prefix.utf8.count), as: UTF8.self))
        }
    }

    private func readShare(
        _ name: CheckpointName,
        _ save: SaveID,
        _ rank: Int
    ) async throws(CheckpointError) -> CommitReply {
        let found: (attributes: ObjectAttributes, bytes: [UInt8])
        do throws(ObjectStoreError) {
            let object = try paths.checkpointShare(name, save, rank: rank)
            found = try await store.contents(object, generation: nil, limit: CheckpointShare.maximumBytes)
        } catch {
            if error.code == .notFound { return .share(nil, Generation(0)) }
            throw CheckpointError(error, while: "reading the share of rank \(rank) of \(name)")
        }
        do throws(ManifestError) {
            let share = try CheckpointShare(decoding: found.bytes)
            if share.name == name, share.save == save, share.rank == rank {
                return .share(share, found.attributes.generation)
            }
            throw ManifestError(.invalid, "checkpoint share", "it is another rank's")
        } catch {
            throw CheckpointError(error, of: found.attributes.name.value)
        }
    }
}

extension CheckpointCommitter {
    /// The files as they stand, each with its checksum, and what they say.
    private func look(_ name: CheckpointName) async throws(CheckpointError) -> CommitCandidate {
        let found = try await catalog.candidate(name)
        guard let (objects, evidence) = found else {
            throw CheckpointError(.notFound, "there is no \(catalog.place)/\(name): its files are not uploaded yet")
        }
        let sorted = objects.files.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        let files = try await mapConcurrently(sorted, limit: 16) { entry async throws(CheckpointError) in
            try await file(entry.0, entry.1)
        }
        return CommitCandidate(files: files, evidence: evidence)
    }

    /// A directory's store learns the checksum of a file that another tool wrote when it is asked for exactly that file.
    private func file(
        _ path: SafePath,
        _ listed: ObjectAttributes
    ) async throws(CheckpointError) -> CheckpointRecord.File {
        var object = listed
        if object.crc32c == nil {
            object = try await during("looking at \(object.name)") { () async throws(ObjectStoreError) in
                try await store.attributes(listed.name, generation: listed.generation)
            }
        }
        guard let crc32c = object.crc32c else {
            throw CheckpointError(
                .integrity,
                "\(store.label)/\(object.name) has no CRC32C that this account may know, so it could not be verified later"
            )
        }
        return CheckpointRecord.File(path: path, size: object.size, crc32c: crc32c, generation: object.generation)
    }

    /// Takes away what nobody needs after `standing` was written: the shares of its save, and copies kept of what it replaced.
    ///
    /// The copies are listed before the record is looked at: those of a later record come after that record, which would show.
    private func cleanUp(_ standing: StandingRecord) async throws(CheckpointError) {
        let name = standing.record.name
        var unneeded: [ObjectAttributes] = []
        let needed = Set(
            standing.record.files.compactMap { try? paths.checkpointKept(name, $0.path, $0.generation) }
        )
        let (kept, shares) = try await during("cleaning up after \(name)") { () async throws(ObjectStoreError) in
            let kept = try await store.listAll(prefix: paths.checkpointKept(name))
            guard let save = standing.record.save else { return (kept, [ObjectAttributes]()) }
            return (kept, try await store.listAll(prefix: paths.checkpointShares(name, save)))
        }
        unneeded = kept.filter { !needed.contains($0.name) }
        if !unneeded.isEmpty {
            let current = try await catalog.recordObject(name)
            if current?.generation != standing.generation { unneeded = [] }
        }
        try await catalog.delete(unneeded + shares)
    }
}
