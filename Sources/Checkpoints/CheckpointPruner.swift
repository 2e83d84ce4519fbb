import Checksums
package import LinuxPlatform
package import Manifests
import ObjectStorage
import TransferEngine

// Removing a checkpoint, so that no record ever names files that this has taken, whenever it is killed:
//
//   say so (removal.json) ─▶ delete the record ─▶ no new record? ─▶ delete markers, then files ─▶ copies, shares ─▶ removal.json
//
// The record goes before the files, so it is never there without them. Files without a record look like a checkpoint that its
// writer has finished as long as the writer's marker is there: so removal.json says that they are none, from before the record
// goes until after the last file, and names each generation that is to go. Whoever finds it finishes it. Whatever was written
// under these names meanwhile has other generations and stays.

/// Removes checkpoints that the rules do not keep.
package struct CheckpointPruner: Sendable {
    private let catalog: CheckpointCatalog
    private let time: any TimeSource

    package init(_ catalog: CheckpointCatalog, time: any TimeSource) {
        self.catalog = catalog
        self.time = time
    }

    /// What `prune` would do now.
    package func plan(_ rules: RetentionRules) async throws(CheckpointError) -> RetentionPlan {
        guard rules.keepLast >= 1 else {
            throw CheckpointError(.usage, "--keep-last must be 1 or more: the last complete checkpoint always stays")
        }
        let found = try await catalog.read()
        let now = try await during("asking \(catalog.place) for the time") { () async throws(ObjectStoreError) in
            try await catalog.store.serverTime()
        }
        return RetentionPlan(found, rules, now: now)
    }

    /// Carries a plan out, one checkpoint after the other, the earliest first.
    ///
    /// - Parameter onRemoved: told of each.
    /// - Returns: those that stay after all, because somebody committed them anew meanwhile.
    /// - Throws: `conflict` when the checkpoint that shall stay is not complete any more: then nothing more is removed.
    package func carryOut(
        _ plan: RetentionPlan,
        _ rules: RetentionRules,
        onRemoved: (Checkpoint) -> Void = { _ in }
    ) async throws(CheckpointError) -> [CheckpointName] {
        var spared: [CheckpointName] = []
        for verdict in plan.removed {
            if let keeper = plan.kept.last { try await check(keeper, rules) }
            if try await remove(verdict.checkpoint) {
                onRemoved(verdict.checkpoint)
            } else {
                spared.append(verdict.checkpoint.name)
            }
        }
        try await tidy(plan, rules)
        return spared
    }

    private func check(_ keeper: Checkpoint, _ rules: RetentionRules) async throws(CheckpointError) {
        let rule = LatestRule(acceptsMarked: rules.acceptsMarked)
        if let now = try await catalog.read(keeper.name), rule.accepts(now) { return }
        throw CheckpointError(
            .conflict,
            "\(catalog.place)/\(keeper.name), which shall stay, is not complete any more; nothing more was removed: look with "
                + "penstock checkpoint list"
        )
    }

    /// - Returns: false when somebody committed it anew.
    private func remove(_ checkpoint: Checkpoint) async throws(CheckpointError) -> Bool {
        let name = checkpoint.name
        let (removal, generation) = try await declare(checkpoint)
        if let record = removal.record {
            try await delete(record) { () throws(ObjectStoreError) in try catalog.paths.checkpointRecord(name) }
        }
        guard try await catalog.recordObject(name) == nil else {
            try await undeclare(name, generation)
            return false
        }
        let markers = removal.files.filter { isMarker($0.path) }
        let others = removal.files.filter { !isMarker($0.path) }
        try await delete(markers)
        try await delete(others)
        try await catalog.delete(checkpoint.objects.kept + checkpoint.objects.shares)
        try await undeclare(name, generation)
        return true
    }

    /// What other tools take for the sign that a checkpoint is complete: it goes first.
    private func isMarker(_ path: SafePath) -> Bool {
        let markers = [
            TrainerNames.trainerState, TrainerNames.orbaxSuccess, TrainerNames.orbaxMetadata,
            TrainerNames.distributedMetadata,
        ]
        return markers.contains(String(TrainerNames.leaf(of: path.value)))
    }

    private func delete(_ files: [CheckpointRemoval.File]) async throws(CheckpointError) {
        _ = try await mapConcurrently(files, limit: 16) { file async throws(CheckpointError) in
            try await delete(file.generation) { () throws(ObjectStoreError) in
                try catalog.paths.prefix.name(file.path.value)
            }
        }
    }

    private func undeclare(_ name: CheckpointName, _ generation: Generation) async throws(CheckpointError) {
        try await delete(generation) { () throws(ObjectStoreError) in try catalog.paths.checkpointRemoval(name) }
    }

    private func delete(
        _ generation: Generation,
        _ name: () throws(ObjectStoreError) -> ObjectName
    ) async throws(CheckpointError) {
        try await during("removing a record of \(catalog.place)") { () async throws(ObjectStoreError) in
            try await catalog.store.delete(try name(), generation)
        }
    }

    /// What dead runs left beside checkpoints that stay: removals that never took the record, shares of saves that ended.
    private func tidy(_ plan: RetentionPlan, _ rules: RetentionRules) async throws(CheckpointError) {
        let leftovers = plan.kept.flatMap { $0.objects.shares + [$0.objects.removal].compactMap(\.self) }
        if leftovers.isEmpty { return }
        let now = try await during("asking \(catalog.place) for the time") { () async throws(ObjectStoreError) in
            try await catalog.store.serverTime()
        }
        // Young ones may be of somebody who is at work.
        let old = leftovers.filter { $0.updated.map { $0.advanced(by: rules.grace) < now } ?? false }
        try await catalog.delete(old)
    }
}

// MARK: - Saying so

extension CheckpointPruner {
    /// Says that the checkpoint goes, or finds that somebody has said so.
    private func declare(
        _ checkpoint: Checkpoint
    ) async throws(CheckpointError) -> (removal: CheckpointRemoval, generation: Generation) {
        let name = checkpoint.name
        for _ in 0..<3 {
            if let (removal, generation) = try await standingRemoval(name) {
                if removal.record == checkpoint.objects.record?.generation || checkpoint.objects.record == nil {
                    return (removal, generation)
                }
                // Of an earlier checkpoint of this name, which is gone or was committed anew.
                try await undeclare(name, generation)
            }
            let removal = try makeRemoval(checkpoint)
            if let generation = try await write(removal) { return (removal, generation) }
        }
        throw CheckpointError(.retryable, "somebody else is removing \(catalog.place)/\(name); try again")
    }

    private func makeRemoval(_ checkpoint: Checkpoint) throws(CheckpointError) -> CheckpointRemoval {
        do throws(ManifestError) {
            return try CheckpointRemoval(
                name: checkpoint.name,
                created: time.timeOfDay(),
                operation: .random(),
                record: checkpoint.objects.record?.generation,
                files: checkpoint.objects.files.map {
                    CheckpointRemoval.File(path: $0.key, generation: $0.value.generation)
                }
            )
        } catch {
            throw CheckpointError(error, of: checkpoint.name.description)
        }
    }

    /// - Returns: nil when one stands there, this one perhaps.
    private func write(_ removal: CheckpointRemoval) async throws(CheckpointError) -> Generation? {
        let bytes: [UInt8]
        do throws(ManifestError) { bytes = try removal.encoded() } catch {
            throw CheckpointError(error, of: removal.name.description)
        }
        let options = WriteOptions(
            .absent,
            contentType: "application/json",
            crc32c: CRC32C.of(bytes),
            mayBeCached: false
        )
        do throws(ObjectStoreError) {
            let name = try catalog.paths.checkpointRemoval(removal.name)
            return try await catalog.store.put(name, ByteSegments(bytes), options).generation
        } catch {
            if error.code == .preconditionFailed || error.isTransient { return nil }
            throw CheckpointError(error, while: "writing that \(catalog.place)/\(removal.name) is being removed")
        }
    }

    private func standingRemoval(
        _ name: CheckpointName
    ) async throws(CheckpointError) -> (removal: CheckpointRemoval, generation: Generation)? {
        let found: (attributes: ObjectAttributes, bytes: [UInt8])
        do throws(ObjectStoreError) {
            let object = try catalog.paths.checkpointRemoval(name)
            found = try await catalog.store.contents(
                object,
                generation: nil,
                limit: CheckpointRemoval.maximumBytes
            )
        } catch {
            if error.code == .notFound { return nil }
            throw CheckpointError(error, while: "reading the removal of \(catalog.place)/\(name)")
        }
        do throws(ManifestError) {
            let removal = try CheckpointRemoval(decoding: found.bytes)
            guard removal.name == name else {
                throw ManifestError(.invalid, "checkpoint removal", "it is of another checkpoint")
            }
            return (removal, found.attributes.generation)
        } catch {
            throw CheckpointError(error, of: found.attributes.name.value)
        }
    }
}
