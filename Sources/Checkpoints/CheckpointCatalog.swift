import Checksums
package import Manifests
package import ObjectStorage
import TransferEngine

/// Reads what a bucket knows of a run's checkpoints.
package struct CheckpointCatalog: Sendable {
    let store: any ObjectStore
    package let paths: PenstockPaths
    let rules: CompletenessRules
    /// Reads on their way at once.
    static let width = 16
    /// Listings until a record that changes all the time is given up.
    private static let attempts = 5

    package init(_ store: any ObjectStore, _ prefix: ObjectPrefix, rules: CompletenessRules = CompletenessRules()) {
        self.store = store
        paths = PenstockPaths(prefix)
        self.rules = rules
    }

    /// `gs://bucket/run`, without the closing slash: for people.
    package var place: String {
        let whole = "\(store.label)/\(paths.prefix)"
        return whole.hasSuffix("/") ? String(whole.dropLast()) : whole
    }

    /// Every checkpoint of the run, earliest in training first.
    ///
    /// Directories that hold nothing a trainer writes are left out. Each checkpoint's state is of one moment between call and
    /// return.
    ///
    /// - Parameter wanted: only these; nil for all.
    package func read(
        only wanted: Set<CheckpointName>? = nil
    ) async throws(CheckpointError) -> [Checkpoint] {
        for _ in 0..<Self.attempts {
            if let found = try await look(wanted) { return found.sorted(by: Checkpoint.isEarlier) }
        }
        throw CheckpointError(.retryable, "the records of \(place) change faster than they can be read; try again")
    }

    /// One checkpoint; nil when there is nothing of that name.
    package func read(_ name: CheckpointName) async throws(CheckpointError) -> Checkpoint? {
        try await read(only: [name]).first
    }

    /// Nil when a record was replaced between the listing and its reading.
    private func look(_ wanted: Set<CheckpointName>?) async throws(CheckpointError) -> [Checkpoint]? {
        let listing = CheckpointListing(try await list(wanted), paths)
        let candidates = listing.checkpoints.values.filter { wanted?.contains($0.name) ?? Self.isCandidate($0) }
            .sorted { $0.name < $1.name }
        let pointers = try await targets(listing.pointers)
        let found = try await mapConcurrently(candidates, limit: Self.width) { objects async throws(CheckpointError) in
            try await read(objects, pointers)
        }
        let whole = found.compactMap { $0 }
        return whole.count == found.count ? whole : nil
    }

    func list(_ wanted: Set<CheckpointName>?) async throws(CheckpointError) -> [ObjectAttributes] {
        var prefixes = [paths.prefix.value]
        var found: [ObjectName: ObjectAttributes] = [:]
        if let wanted {
            prefixes = wanted.sorted().flatMap { ["\(paths.prefix)\($0)/", paths.checkpoint($0)] }
            let alone: [String] = wanted.sorted().map { $0.description } + TrainerNames.pointers
            for name in alone {
                if let object = try await attributes(name) { found[object.name] = object }
            }
        }
        for prefix in prefixes {
            let listed = try await during("listing \(place)") { () async throws(ObjectStoreError) in
                try await store.listAll(prefix: prefix)
            }
            for object in listed { found[object.name] = object }
        }
        return Array(found.values)
    }

    /// Of the object with exactly this name below the run; nil when there is none.
    private func attributes(_ name: String) async throws(CheckpointError) -> ObjectAttributes? {
        do throws(ObjectStoreError) {
            return try await store.attributes(try paths.prefix.name(name), generation: nil)
        } catch {
            if error.code == .notFound { return nil }
            throw CheckpointError(error, while: "looking at \(place)/\(name)")
        }
    }

    /// Whether a directory or file below the run has anything of a checkpoint.
    private static func isCandidate(_ objects: CheckpointObjects) -> Bool {
        if objects.record != nil || objects.removal != nil || !objects.shares.isEmpty || !objects.kept.isEmpty {
            return true
        }
        let name = objects.name.description
        if objects.isSingleFile { return TrainerNames.isSingleFile(name) }
        if TrainerNames.isTemporary(name) || TrainerNames.step(in: name) != nil { return !objects.files.isEmpty }
        return TrainerNames.writer(of: objects.files.keys.map(objects.relative)) != nil
    }

    /// What the pointers beside the checkpoints name. One that cannot be read names nothing.
    func targets(
        _ pointers: [ObjectAttributes]
    ) async throws(CheckpointError) -> [(file: String, target: String)] {
        var targets: [(file: String, target: String)] = []
        for pointer in pointers.sorted(by: { $0.name < $1.name }) where pointer.size <= 256 {
            guard let bytes = try await bytes(pointer, limit: 256),
                let text = String(validating: bytes, as: UTF8.self)
            else { continue }
            let trimmed = text.split(whereSeparator: \.isWhitespace)
            guard trimmed.count == 1, let file = paths.prefix.path(of: pointer.name) else { continue }
            targets.append((file, String(trimmed[0])))
        }
        return targets
    }

    /// Nil when the record was replaced since it was listed.
    private func read(
        _ objects: CheckpointObjects,
        _ pointers: [(file: String, target: String)]
    ) async throws(CheckpointError) -> Checkpoint? {
        guard let record = objects.record else {
            return Checkpoint(objects, try await evidence(objects, pointers))
        }
        switch try await standing(record) {
        case .readable(let standing):
            guard standing.record.name == objects.name else {
                return Checkpoint(objects, unreadable: "it is of another checkpoint, \(standing.record.name)")
            }
            return Checkpoint(objects, standing, paths)
        case .unreadable(let complaint): return Checkpoint(objects, unreadable: complaint)
        case .gone: return nil
        }
    }

    /// What reading a record gave.
    enum ReadRecord {
        case readable(StandingRecord)
        case unreadable(String)
        case gone
    }

    /// Reads a record, twice when it is not what it should be: bytes may be wrong on their way only.
    func standing(_ object: ObjectAttributes) async throws(CheckpointError) -> ReadRecord {
        var complaint = ""
        for _ in 0..<2 {
            do throws(ObjectStoreError) {
                let limit = CheckpointRecord.maximumBytes
                let found = try await store.contents(object.name, generation: object.generation, limit: limit)
                do throws(ManifestError) {
                    let record = try CheckpointRecord(decoding: found.bytes)
                    return .readable(StandingRecord(record: record, generation: object.generation))
                } catch {
                    complaint = error.description
                }
            } catch {
                switch error.code {
                case .notFound: return .gone
                case .integrity: complaint = error.description
                default: throw CheckpointError(error, while: "reading \(object.name)")
                }
            }
        }
        return .unreadable(complaint)
    }

    /// What the files of a checkpoint say, its small files read.
    func evidence(
        _ objects: CheckpointObjects,
        _ pointers: [(file: String, target: String)]
    ) async throws(CheckpointError) -> Evidence {
        var sizes: [String: Int] = [:]
        var attributes: [String: ObjectAttributes] = [:]
        for (path, object) in objects.files {
            sizes[objects.relative(path)] = object.size
            attributes[objects.relative(path)] = object
        }
        let name = objects.name.description
        var contents = CheckpointContents(
            name: name,
            isSingleFile: objects.isSingleFile,
            sizes: sizes,
            unusable: objects.unusable.count
        )
        for (path, limit) in contents.wanted {
            guard let object = attributes[path] else { continue }
            contents.bytes[path] = try await bytes(object, limit: limit)
        }
        for pointer in pointers {
            contents.pointer = pointer
            if contents.evidence(rules).marker != nil { break }
        }
        return contents.evidence(rules)
    }

    /// Nil when it is gone, replaced or damaged: then it says nothing.
    private func bytes(_ object: ObjectAttributes, limit: Int) async throws(CheckpointError) -> [UInt8]? {
        do throws(ObjectStoreError) {
            return try await store.contents(object.name, generation: object.generation, limit: limit).bytes
        } catch {
            if error.code == .notFound || error.code == .integrity { return nil }
            throw CheckpointError(error, while: "reading \(object.name)")
        }
    }
}

// MARK: - Single questions

extension CheckpointCatalog {
    /// The record of a checkpoint as an object; nil when there is none.
    func recordObject(_ name: CheckpointName) async throws(CheckpointError) -> ObjectAttributes? {
        try await own(name) { () throws(ObjectStoreError) in try paths.checkpointRecord(name) }
    }

    /// Whether somebody has said that they remove the checkpoint.
    func hasRemoval(_ name: CheckpointName) async throws(CheckpointError) -> Bool {
        try await own(name) { () throws(ObjectStoreError) in try paths.checkpointRemoval(name) } != nil
    }

    private func own(
        _ checkpoint: CheckpointName,
        _ name: () throws(ObjectStoreError) -> ObjectName
    ) async throws(CheckpointError) -> ObjectAttributes? {
        do throws(ObjectStoreError) {
            return try await store.attributes(try name(), generation: nil)
        } catch {
            if error.code == .notFound { return nil }
            throw CheckpointError(error, while: "looking at what is recorded of \(place)/\(checkpoint)")
        }
    }

    /// The files that stand under a name, and what they say; nil when there is none.
    func candidate(
        _ name: CheckpointName
    ) async throws(CheckpointError) -> (objects: CheckpointObjects, evidence: Evidence)? {
        let listing = CheckpointListing(try await list([name]), paths)
        guard let objects = listing.checkpoints[name], !objects.files.isEmpty else { return nil }
        return (objects, try await evidence(objects, try await targets(listing.pointers)))
    }

    /// Deletes exactly these generations.
    func delete(_ objects: [ObjectAttributes]) async throws(CheckpointError) {
        _ = try await mapConcurrently(objects, limit: Self.width) { object async throws(CheckpointError) in
            try await during("removing \(object.name)") { () async throws(ObjectStoreError) in
                try await store.delete(object.name, object.generation)
            }
        }
    }
}
