import LinuxPlatform
import Manifests
import ObjectStorage

// What stands in the bucket and was not written here.
extension WriteBack {
    /// Objects below a directory that is renamed, at most: each is a request.
    static let renameLimit = 100_000

    /// Completes when the names of the directory are known as the bucket has them, or had them not long ago.
    ///
    /// - Parameter request: of the call that has done nothing yet: a signal ends it.
    func withListing(
        of directory: NameNode,
        _ request: TreeRequest,
        _ completion: @escaping Completion<Void>
    ) {
        let now = time.now()
        let isFresh = core.withLock { $0.listed[directory].map { $0 > now } ?? false }
        if isFresh { return completion(.success(())) }
        let completion = asking(request, completion)
        run { [self] in
            let result = await attempt { () async throws(ObjectStoreError) in try await self.list(directory) }
            completion(result.mapError { Self.errno($0) })
        }
    }

    /// What the caller of a system call is told.
    static func errno(_ error: ObjectStoreError) -> Errno {
        switch error.code {
        case .notFound, .containerNotFound: .noEntry
        case .unauthenticated, .forbidden: .access
        case .deadlineExceeded: .timedOut
        case .noSpace: .noSpace
        default: .inputOutput
        }
    }

    /// With a slash behind it, but for the root.
    private static func path(_ directory: NameNode, _ core: Core) -> ByteName? {
        core.engine.state.names.tree.path(directory).map { $0.isEmpty ? $0 : ByteName("\($0)/") }
    }

    private func path(_ directory: NameNode) -> ByteName? {
        core.withLock { Self.path(directory, $0) }
    }

    /// What the bucket said of a directory, and what was known of the bucket before.
    struct BucketListing: Sendable {
        var path: ByteName
        var objects: [ObjectAttributes] = []
        var folders: [String] = []
        var before: [ByteName: NameTable.Remote]

        /// What was published, moved or deleted here since it was asked: the listing may be older than that.
        func isOutdated(_ name: ByteName, _ now: NameTable) -> Bool {
            let whole = ByteName("\(path)\(name)")
            return before[whole] != now.remotes[whole] || now.isInTransit(whole)
        }
    }

    private func list(_ directory: NameNode) async throws(ObjectStoreError) {
        guard let listing = try await listing(of: directory) else { return }
        take(listing, of: directory)
    }

    /// Nil for a directory without a name.
    func listing(of directory: NameNode) async throws(ObjectStoreError) -> BucketListing? {
        guard let path = path(directory) else { return nil }
        var listing = BucketListing(path: path, before: core.withLock { $0.engine.state.names.remotes.contents })
        var token: String?
        repeat {
            let page = try await store.list(
                ListRequest(prefix: root.value + path.value, delimiter: "/", pageToken: token)
            )
            listing.objects += page.objects
            listing.folders += page.prefixes
            token = page.nextPageToken
        } while token != nil
        return listing
    }

    /// Shows from now on what the listing says.
    func take(_ listing: BucketListing, of directory: NameNode) {
        let path = listing.path
        let start = root.value.utf8.count + path.value.utf8.count
        update { core in
            // Renamed meanwhile: what was listed has another path.
            guard Self.path(directory, core) == path else { return }
            for folder in listing.folders {
                let name = ByteName(String(decoding: folder.utf8.dropFirst(start).dropLast(), as: UTF8.self))
                let known = [listing.before, core.engine.state.names.remotes.contents]
                let isHere = (try? core.engine.state.names.tree.child(name, of: directory)) != nil
                if isHere || !Self.isLeftBehind(ByteName("\(path)\(name)/"), known, core) {
                    adoptDirectory(name, in: directory, &core)
                }
            }
            var seen: Set<ByteName> = []
            for object in listing.objects {
                let name = ByteName(String(decoding: object.name.value.utf8.dropFirst(start), as: UTF8.self))
                seen.insert(name)
                if !listing.isOutdated(name, core.engine.state.names) { adopt(object, name, in: directory, &core) }
            }
            forget(but: seen, listing, in: directory, &core)
            core.listed[directory] = time.now().advanced(by: options.listingLife)
        }
    }

    /// Objects that were unlinked or renamed here stand there for a while: of a directory that is not here any more, they are
    /// no reason to show it.
    private static func isLeftBehind(_ folder: ByteName, _ known: [[ByteName: NameTable.Remote]], _ core: Core) -> Bool
    {
        known.contains { remotes in
            remotes.contains { name, remote in
                name.value.utf8.starts(with: folder.value.utf8) && !remote.isForeign
                    && remote.holder.flatMap { core.engine.state.names.tree.path($0) } != name
            }
        }
    }

    /// A name that a directory can have here.
    private static func isName(_ name: ByteName) -> Bool {
        guard (try? SafePath(name.value)) != nil else { return false }
        return !name.value.utf8.contains(UInt8(ascii: "/")) && name != ByteName(PenstockPaths.directory)
    }

    @discardableResult
    private func adoptDirectory(_ name: ByteName, in directory: NameNode, _ core: inout Core) -> NameNode? {
        guard Self.isName(name) else { return nil }
        if let node = try? core.engine.state.names.tree.child(name, of: directory) {
            return core.engine.state.names.tree.isDirectory(node) ? node : nil
        }
        let attributes = NodeAttributes(mode: 0o755, user: 0, group: 0, time: time.timeOfDay())
        return (try? core.engine.record(.adoptedDirectory(name, in: directory, attributes)))?.node
    }

    private func adopt(_ object: ObjectAttributes, _ name: ByteName, in directory: NameNode, _ core: inout Core) {
        guard Self.isName(name) else { return }
        let attributes = ObjectMetadata.decoded(object, now: time.timeOfDay())
        if let node = try? core.engine.state.names.tree.child(name, of: directory) {
            let standing = core.engine.state.files[node]?.standing
            if standing == nil || standing?.generation == object.generation { return }
            // Others have written it. Who has it open, or has changed it here, keeps what there is.
            let event = WriteBackRecord.Event.superseded(name, in: directory, ObjectIdentity(object), attributes)
            if (try? core.engine.record(event)) != nil { tell(.name(name.value, in: TreeNode(directory)), core) }
            return
        }
        _ = try? core.engine.record(.adopted(name, in: directory, ObjectIdentity(object), attributes))
    }

    /// What was adopted once and stands there no longer.
    private func forget(
        but seen: Set<ByteName>,
        _ listing: BucketListing,
        in directory: NameNode,
        _ core: inout Core
    ) {
        for name in ((try? core.engine.state.names.tree.children(of: directory)) ?? [:]).keys.sorted()
        where !seen.contains(name) && !listing.isOutdated(name, core.engine.state.names) {
            guard let node = try? core.engine.state.names.tree.child(name, of: directory),
                core.engine.state.names.isCurrent(node), core.engine.state.staged[node] == nil,
                (try? core.engine.record(.vanished(name, in: directory))) != nil
            else { continue }
            tell(.name(name.value, in: TreeNode(directory)), core)
        }
    }

    /// Tells the mount, outside of the lock.
    func tell(_ change: TreeChange, _ core: Core) {
        guard let observer = core.observer else { return }
        run { observer(change) }
    }

    /// Takes note of a directory that was made here, where the bucket had none.
    func noteMade(_ directory: NameNode, _ core: inout Core) {
        if options.isShared { return }
        core.made.insert(directory)
        core.listed[directory] = time.now().advanced(by: options.listingLife)
    }

    /// Adopts everything below a directory, so that it can be renamed whole. Where only this process has made directories,
    /// there is nothing that it does not know.
    ///
    /// - Throws: `EXDEV` when there is too much of it; what the bucket said.
    func adoptAll(below directory: NameNode) async -> Result<Void, Errno> {
        let isKnown = core.withLock { core in
            core.engine.state.names.tree.directories(below: directory).allSatisfy(core.made.contains)
        }
        if isKnown { return .success(()) }
        guard let path = path(directory) else { return .failure(.stale) }
        let listed = await attempt { () async throws(ObjectStoreError) in
            try await self.store.listAll(prefix: self.root.value + path.value, limit: Self.renameLimit)
        }
        switch listed {
        case .failure(let error):
            return .failure(error.code == .invalidRequest ? Errno.crossDevice : Self.errno(error))
        case .success(let objects):
            let start = root.value.utf8.count + path.value.utf8.count
            update { core in
                guard Self.path(directory, core) == path else { return }
                for object in objects { adopt(object, below: directory, from: start, &core) }
            }
            return .success(())
        }
    }

    private func adopt(_ object: ObjectAttributes, below top: NameNode, from start: Int, _ core: inout Core) {
        let rest = String(decoding: object.name.value.utf8.dropFirst(start), as: UTF8.self)
        guard let path = try? SafePath(rest) else { return }
        var directory = top
        for segment in path.segments.dropLast() {
            guard let next = adoptDirectory(ByteName(String(segment)), in: directory, &core) else { return }
            directory = next
        }
        if let name = path.segments.last { adopt(object, ByteName(String(name)), in: directory, &core) }
    }
}

extension Errno {
    /// EXDEV.
    static let crossDevice = Errno(18)
}
