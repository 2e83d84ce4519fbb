import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage

// What the engine wants done with the bucket and the disk.
extension WriteBack {
    func perform(_ action: WriteBackAction, _ position: JournalPosition?, _ attempt: Int = 1) async {
        if isClosed { return }
        switch action {
        case .upload(let node, let upload): await perform(node, upload, position)
        case .publication(let node, let intent, let publication):
            await perform(node, intent, publication, position)
        case .measure(let node, let content, let size):
            let result = await self.attempt { () async throws(ObjectStoreError) in
                try await self.checksum(node, 0..<size)
            }
            update { $0.engine.measured(node, content, result) }
        case .check(let node): await check(node)
        case .recognise(let node, let intent, let identity):
            let outcome = await settled(action, position, attempt) { () async throws(ObjectStoreError) in
                try await self.recognise(node, intent, identity)
            }
            if let outcome { update { $0.engine.recognised(node, outcome) } }
        case .move(let node, let intent, let identity):
            let outcome = await settled(action, position, attempt) { () async throws(ObjectStoreError) in
                try await self.mayChange("a move", position)
                return try await self.move(intent, identity)
            }
            if let outcome { update { $0.engine.recognised(node, outcome) } }
        case .delete(let name, let generation):
            let isGone = await settled(action, position, attempt) { () async throws(ObjectStoreError) in
                try await self.mayChange("a deletion", position, .process)
                try await self.store.delete(self.root.name(name.value), generation)
                return true
            }
            if isGone != nil { update { $0.engine.deleted(name, generation) } }
        case .patch(let node, let name, let generation):
            let found = await settled(action, position, attempt) { () async throws(ObjectStoreError) in
                try await self.patch(node, name, generation)
            }
            if let found { update { $0.engine.patched(node, name, generation, found) } }
        case .verify(let node, let parts):
            let missing = await settled(action, position, attempt) { () async throws(ObjectStoreError) in
                try await self.missing(parts)
            }
            if let missing { update { $0.engine.verified(node, missing) } }
        case .wait(let timer, let duration):
            guard (try? await time.sleep(for: duration)) != nil else { return }
            update { $0.engine.elapsed(timer) }
        case .remove(let number):
            guard case .success = await commitSafely(position) else { return }
            await pool.run { [directory] in try? directory.remove(StagingNames.name(number)) }
            _ = core.withLock { $0.files.removeValue(forKey: number) }
        }
    }

    /// Before each request that changes what stands under a name: all records so far are in the journal, since what no process
    /// would know of was not done, and it is this mount's turn.
    private func mayChange(
        _ change: String,
        _ position: JournalPosition?,
        _ level: JournalLevel = .node
    ) async throws(ObjectStoreError) {
        if case .failure(let error) = await commitSafely(position, level) {
            throw ObjectStoreError(.unavailable, "the journal does not take \(change): \(error)")
        }
        try await mayWrite()
    }

    func attempt<Value>(
        _ body: () async throws(ObjectStoreError) -> Value
    ) async -> Result<Value, ObjectStoreError> {
        do throws(ObjectStoreError) { return .success(try await body()) } catch { return .failure(error) }
    }

    /// The answer; when there is none, the action is begun again after a pause that grows. Nil then, and when it is closed.
    private func settled<Value>(
        _ action: WriteBackAction,
        _ position: JournalPosition?,
        _ attempt: Int,
        _ body: () async throws(ObjectStoreError) -> Value
    ) async -> Value? {
        do throws(ObjectStoreError) { return try await body() } catch {
            core.withLock { $0.lastError = error }
            if isClosed { return nil }
            run { [self] in
                await pause(attempt)
                await perform(action, position, attempt + 1)
            }
            return nil
        }
    }

    private func upload(_ node: NameNode, _ body: (inout UploadLedger) -> Void) {
        update { $0.engine.upload(node, body) }
    }

    // MARK: Uploads

    private func perform(_ node: NameNode, _ action: UploadAction, _ position: JournalPosition?) async {
        switch action {
        case .measure(let version):
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.checksum(node, version.range)
            }
            if case .success(let crc32c) = result { return upload(node) { $0.measured(version, crc32c) } }
            // The bytes are on their way elsewhere, or the disk fails: later, if the part is still wanted.
            run { [self] in
                await pause(1)
                let isWanted = core.withLock { $0.engine.uploads[node]?.isMeasuring(version) ?? false }
                if isWanted, !isClosed { await perform(node, action, position) }
            }
        case .open(let version, let component):
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.store.beginUpload(
                    ObjectName(component),
                    size: version.range.count,
                    WriteOptions(.absent, crc32c: version.crc32c)
                )
            }
            upload(node) { $0.opened(version, result) }
        case .record(let version, _):
            let result = await commitSafely(position)
            let isSafe = if case .success = result { true } else { false }
            upload(node) { $0.recorded(version, isSafe: isSafe) }
        case .send(let version, let session, let range, let offset, let isLast):
            let result = await attempt { () async throws(ObjectStoreError) in
                let body = try await self.body(node, range)
                return try await self.store.continueUpload(session, body, at: offset, isLast: isLast)
            }
            upload(node) { $0.sent(version, result) }
        case .ask(let version, let session):
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.store.uploadProgress(session)
            }
            upload(node) { $0.asked(version, result) }
        case .find(let version, let name):
            let result = await attempt { () async throws(ObjectStoreError) in try await self.find(name) }
            upload(node) { $0.found(version, result) }
        case .pause(let version, let attempt):
            await pause(attempt)
            upload(node) { $0.retry(version) }
        case .note: break
        case .discard(let session, let source): await discard(session, source)
        }
    }

    private func discard(_ session: UploadSession?, _ source: ComposeSource?) async {
        if let session { try? await store.cancelUpload(session) }
        if let source { try? await store.delete(source.name, source.generation) }
    }

    private func pause(_ attempt: Int) async { try? await time.sleep(for: options.pause(attempt)) }

    /// What stands under the name; nil for nothing.
    private func find(_ name: ObjectName) async throws(ObjectStoreError) -> ObjectAttributes? {
        do throws(ObjectStoreError) { return try await store.attributes(name, generation: nil) } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// Which of the parts are not in the bucket as they were stored.
    private func missing(_ parts: [Int: StoredPart]) async throws(ObjectStoreError) -> [Int] {
        var missing: [Int] = []
        for (part, stored) in parts.sorted(by: { $0.key < $1.key })
        where try await find(stored.source.name)?.generation != stored.source.generation {
            missing.append(part)
        }
        return missing
    }

    // MARK: Publications

    private func perform(
        _ node: NameNode,
        _ intent: WriteIntent,
        _ action: PublicationAction,
        _ position: JournalPosition?
    ) async {
        guard case .publish(_, _, let path, _) = intent.action else { return }
        func answer(_ body: (inout FilePublication) -> Void) {
            update { $0.engine.publication(node, intent.operation, body) }
        }
        switch action {
        case .join(let group, let sources, let component, _, let crc32c):
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.store.compose(
                    sources,
                    into: ObjectName(component),
                    WriteOptions(.absent, crc32c: crc32c)
                )
            }
            answer { $0.joined(group, result) }
        case .write(let sources, let precondition, let operation, let size, let crc32c):
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.mayChange("a publication", position)
                let metadata = self.core.withLock { $0.engine.state.attributes[node] }
                let name = try self.root.name(path.value)
                let written = WriteOptions(
                    precondition,
                    metadata: ObjectMetadata.encoded(metadata, operation: operation),
                    crc32c: crc32c,
                    mayBeCached: false
                )
                if !sources.isEmpty { return try await self.store.compose(sources, into: name, written) }
                return try await self.store.put(name, self.body(node, 0..<size), written)
            }
            answer { $0.written(result) }
        case .find:
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.find(self.root.name(path.value))
            }
            answer { $0.found(result) }
        case .pause(let attempt):
            await pause(attempt)
            answer { $0.retry() }
        case .discard(let source): await discard(nil, source)
        }
    }

    // MARK: Attributes

    /// Gives the object the attributes that the file has now.
    ///
    /// - Returns: the object; nil when another, or none, stands under the name.
    private func patch(
        _ node: NameNode,
        _ name: ByteName,
        _ generation: Generation
    ) async throws(ObjectStoreError) -> ObjectAttributes? {
        let (attributes, position) = core.withLock { ($0.engine.state.attributes[node], $0.position) }
        let object = try root.name(name.value)
        guard let attributes, let found = try await find(object), found.generation == generation else { return nil }
        let changes = ObjectMetadata.changes(of: found.metadata, to: attributes)
        if changes.isEmpty { return found }
        // A bucket that has what the next start does not know would be believed by nobody here, and corrected never.
        try await mayChange("a change of attributes", position)
        // Whatever else has changed meanwhile, or this with a lost reply: the next attempt looks what is there.
        do throws(ObjectStoreError) {
            return try await store.patch(object, generation, metageneration: found.metageneration, metadata: changes)
        } catch {
            guard error.code == .invalidRequest || error.code == .unsupported else { throw error }
            // There is no room beside what others have put into the metadata: it would be refused for ever.
            core.withLock { $0.lastError = error }
            return nil
        }
    }

    // MARK: What was begun before

    private func recognise(
        _ node: NameNode,
        _ intent: WriteIntent,
        _ identity: ObjectIdentity?
    ) async throws(ObjectStoreError) -> IntentOutcome {
        switch intent.action {
        case .publish(_, _, let path, _):
            let ours = core.withLock { Set($0.engine.state.files[node]?.operations ?? []) }
            guard let found = try await find(root.name(path.value)),
                let operation = found.metadata[MetadataKey.operation],
                operation == intent.operation || ours.contains(operation)
            else { return .notDone }
            return .done(found)
        case .move(_, _, let source, let generation, let path, let replacing):
            let target = try await find(root.name(path.value))
            let left = try await find(root.name(source.value))
            if left?.generation == generation { return .notDone }
            if let target, target.generation != replacing, isSame(target, identity) { return .done(target) }
            return .sourceGone
        case .keep(_, _, _, _, let path):
            // The name is nobody else's: what stands there is the copy.
            guard let found = try await find(root.name(path.value)), isSame(found, identity) else { return .notDone }
            return .done(found)
        // Whatever became of it: that it was begun means that it is to be.
        case .renameFolder(_, let from, let to):
            try await mayWrite()
            return try await renameFolder(from, to)
        case .delete: return .notDone
        }
    }

    private func isSame(_ found: ObjectAttributes, _ identity: ObjectIdentity?) -> Bool {
        guard let identity else { return false }
        return found.size == identity.size && (identity.crc32c == nil || found.crc32c == identity.crc32c)
    }

    /// Moves an object, in one step or, where the bucket has none, by a copy whose source goes afterwards.
    private func move(_ intent: WriteIntent, _ identity: ObjectIdentity?) async throws(ObjectStoreError)
        -> IntentOutcome
    {
        if case .keep(_, _, let source, let generation, let path) = intent.action {
            return try await copy(source, generation, path, identity)
        }
        if case .renameFolder(_, let from, let to) = intent.action { return try await renameFolder(from, to) }
        guard case .move(_, _, let source, let generation, let path, let replacing) = intent.action else {
            return .notDone
        }
        let (from, to) = (try root.name(source.value), try root.name(path.value))
        let precondition = replacing.map { WritePrecondition.generation($0) } ?? .absent
        let left = try await find(from)
        let target = try await find(to)
        if let target, target.generation != replacing, isSame(target, identity) {
            // An earlier attempt has done it, all or the copy.
            if left?.generation == generation { try await store.delete(from, generation) }
            return .done(target)
        }
        guard left?.generation == generation else { return .sourceGone }
        guard target?.generation == replacing else { return .conflict(found: target) }
        do throws(ObjectStoreError) {
            return .done(try await store.move(from, generation, to: to, precondition: precondition))
        } catch {
            guard error.code == .unsupported else { throw error }
            let copy = try await store.copy(from, generation, to: to, precondition: precondition, metadata: nil)
            try await store.delete(from, generation)
            return .done(copy)
        }
    }

    /// Whether the bucket has a hierarchical namespace. Where it may not be asked, as if it had none.
    private func hasFolders() async throws(ObjectStoreError) -> Bool {
        do throws(ObjectStoreError) { return try await store.layout().isHierarchical } catch {
            if error.isTransient { throw error }
            return false
        }
    }

    /// Renames a folder, or finds that it was done; a refusal that nothing has come of is `notDone`.
    private func renameFolder(_ from: ByteName, _ to: ByteName) async throws(ObjectStoreError) -> IntentOutcome {
        guard try await hasFolders() else {
            update { $0.engine.state.names.renamesFolders = false }
            return .notDone
        }
        let (source, target) = (root.value + from.value, root.value + to.value)
        let parents = to.segments.dropLast().map(\.value).joined(separator: "/")
        var result = await attempt { () async throws(ObjectStoreError) in
            if !parents.isEmpty { try await store.createFolder(root.value + parents) }
            try await store.renameFolder(source, to: target)
        }
        if case .failure(let error) = result, error.code == .preconditionFailed,
            case .success = await attempt({ () async throws(ObjectStoreError) in try await store.deleteFolder(target) })
        {
            // An empty folder stood there, as moves object by object leave them; one that holds something is not deleted.
            result = await attempt { () async throws(ObjectStoreError) in
                try await store.renameFolder(source, to: target)
            }
        }
        if case .failure(let error) = result {
            let refusals: [ObjectStoreError.Code] = [
                .notFound, .preconditionFailed, .unsupported, .invalidRequest, .forbidden,
            ]
            guard refusals.contains(error.code) else { throw error }
            if try await !store.listAll(prefix: source + "/").isEmpty { return .notDone }
        }
        return .renamedFolder(try await store.listAll(prefix: target + "/"))
    }

    /// Copies an object to a name that nobody else has, in the bucket.
    private func copy(
        _ source: ByteName,
        _ generation: Generation,
        _ path: ByteName,
        _ identity: ObjectIdentity?
    ) async throws(ObjectStoreError) -> IntentOutcome {
        let (from, to) = (try root.name(source.value), try root.name(path.value))
        // An earlier attempt has done it, and its reply was lost.
        if let target = try await find(to), isSame(target, identity) { return .done(target) }
        guard try await find(from)?.generation == generation else { return .sourceGone }
        return .done(try await store.copy(from, generation, to: to, precondition: .absent, metadata: nil))
    }
}
