import Glibc
package import LinuxPlatform
package import ObjectStorage

/// A request that brings the bucket closer to what the mount shows. Each is answered by `NameTable.finished`.
package enum NameAction: Hashable, Sendable {
    /// Put this content of the file, whole in its parts, under the name.
    case publish(NameNode, content: Int, name: ByteName, replacing: Generation?)
    /// Move what stands under a name to another.
    case move(NameNode, content: Int, from: ByteName, Generation, to: ByteName, replacing: Generation?)
    /// Copy what an open file without a name shows to a name of its own, before its place is taken.
    case keep(NameNode, content: Int, from: ByteName, Generation, to: ByteName)
    case delete(ByteName, Generation)
    /// Rename a folder, with all that is below it, to the path that the directory has here; see `NameTable.folderRename`.
    case renameFolder(NameNode, from: ByteName, to: ByteName)
}

/// What became of a `NameAction`. Lost replies are settled before: by the operation id, by asking.
package enum NameOutcome: Hashable, Sendable {
    /// It is so; what was written has this generation (nil for a deletion).
    case done(Generation?)
    /// Another generation stands under the name that was to be written, or none. Nothing was changed.
    case conflict(found: Generation?)
    /// What was to be moved is not there any more.
    case sourceGone
    /// Nothing was changed; it may be tried again.
    case failed
}

/// The names of a mount that is written to, and what the bucket is known to have under each: publishing is making the
/// second like the first.
///
/// Contents are numbers. A file has one that changes with each writing; it is *ready* when it is whole in the staging
/// directory or its parts. What stands in the bucket under a name is the content of a file, a tombstone, or foreign. All calls
/// come from one owner at a time; no call does I/O.
package struct NameTable: Sendable {
    struct File: Hashable, Sendable {
        var content: Int
        /// The content is whole, and can be published.
        var isReady = false
        var handles = 0
        /// The name in the bucket that has some content of the file.
        var stands: ByteName?
        var isBusy = false
    }

    struct Remote: Hashable, Sendable {
        var generation: Generation
        var content: Int
        /// Nil for a tombstone, and for what others wrote.
        var holder: NameNode?
        /// It was not us who wrote it, and nobody here has seen it: not ours to delete.
        var isForeign = false
        /// Its grace is over.
        var isDue = false
    }

    package internal(set) var tree = NameTree()
    var files = TrackedDictionary<NameNode, File>()
    var remotes = TrackedDictionary<ByteName, Remote>()
    var busyNames: Set<ByteName> = []
    /// Folders that are being renamed.
    var busyFolders: Set<FolderPair> = []
    /// Renames that the bucket has refused to this process.
    var refusedFolders: Set<FolderPair> = []
    /// What was found out in this call of `next`.
    var folderPlans: [FolderPair: FolderPlan] = [:]
    /// The bucket has folders that can be renamed, or nobody has asked it yet.
    var renamesFolders: Bool
    var changedFiles: Set<NameNode> = []
    var changedNames: Set<ByteName> = []
    var lastContent = 0
    var parked = 0
    private var released: [NameNode] = []
    /// Names that are held back: published under no such name, until renamed.
    let holdsBack: @Sendable (String) -> Bool
    /// Where a content waits while names are exchanged.
    let parking: String
    /// Files whose content was given another name because somebody else had written under theirs, to be told.
    package internal(set) var conflicts: [NameNode] = []
    /// Files whose only content was taken away by others, to be told.
    package internal(set) var lost: [NameNode] = []

    /// - Parameters:
    ///   - parking: a prefix in the bucket that no file has, for contents that change names in a circle.
    ///   - holdsBack: whether a path is a temporary name of a writer that renames when it is done.
    ///   - renamesFolders: the bucket may have folders that can be renamed.
    package init(
        parking: String,
        renamesFolders: Bool = false,
        holdsBack: @escaping @Sendable (String) -> Bool = { _ in false }
    ) {
        self.parking = parking
        self.renamesFolders = renamesFolders
        self.holdsBack = holdsBack
    }

    // MARK: What applications do

    /// Makes an empty file, open once for writing.
    package mutating func create(_ name: ByteName, in directory: NameNode) throws(Errno) -> NameNode {
        let node = try tree.make(name, in: directory, isDirectory: false)
        lastContent += 1
        files[node] = File(content: lastContent, handles: 1)
        return node
    }

    package mutating func makeDirectory(_ name: ByteName, in directory: NameNode) throws(Errno) -> NameNode {
        try tree.make(name, in: directory, isDirectory: true)
    }

    package mutating func removeDirectory(_ name: ByteName, in directory: NameNode) throws(Errno) {
        try tree.removeDirectory(name, in: directory)
    }

    /// Takes note of a file that a listing showed.
    ///
    /// - Parameter cookie: where the same name stood until now in listings; nil when it is new.
    /// - Throws: `exists` when the name is taken here, or a tombstone.
    package mutating func adopt(
        _ name: ByteName,
        in directory: NameNode,
        _ generation: Generation,
        cookie: Int? = nil
    ) throws(Errno) -> NameNode {
        let path = (tree.path(directory) ?? "").appending(name)
        if let remote = remotes[path], !remote.isForeign { throw .exists }
        let node = try tree.make(name, in: directory, isDirectory: false, cookie: cookie)
        lastContent += 1
        files[node] = File(content: lastContent, stands: path)
        remotes[path] = Remote(generation: generation, content: lastContent, holder: node)
        return node
    }

    package mutating func opened(_ node: NameNode) { files[node]?.handles += 1 }

    package mutating func closed(_ node: NameNode) {
        files[node]?.handles -= 1
        release(node)
    }

    /// The file has other bytes from now on; what stands in the bucket stays until they are whole.
    ///
    /// - Returns: the number of the content.
    package mutating func changed(_ node: NameNode) -> Int {
        lastContent += 1
        files[node]?.content = lastContent
        files[node]?.isReady = false
        return lastContent
    }

    /// The content is whole. One that was changed since is not meant.
    package mutating func ready(_ node: NameNode, _ content: Int) {
        guard files[node]?.content == content else { return }
        files[node]?.isReady = true
        changedFiles.insert(node)
    }

    /// The content of the file, as it is now.
    package func content(_ node: NameNode) -> Int? { files[node]?.content }

    package mutating func unlink(_ name: ByteName, in directory: NameNode) throws(Errno) {
        lostName(try tree.unlink(name, in: directory))
    }

    /// - Parameter replaces: false for RENAME_NOREPLACE.
    package mutating func rename(
        _ name: ByteName,
        in directory: NameNode,
        to newName: ByteName,
        in newDirectory: NameNode,
        replaces: Bool = true
    ) throws(Errno) {
        let (moved, replaced) = try tree.rename(
            name,
            in: directory,
            to: newName,
            in: newDirectory,
            replaces: replaces
        )
        if let replaced { lostName(replaced) }
        for node in tree.files(below: moved) {
            changedFiles.insert(node)
            files.touch(node)
        }
    }

    /// The file has no name any more: what stands of it in the bucket is a tombstone.
    private mutating func lostName(_ node: NameNode) {
        if let name = files[node]?.stands {
            changedNames.insert(name)
            remotes.touch(name)
        }
        changedFiles.insert(node)
        files.touch(node)
        release(node)
    }

    mutating func release(_ node: NameNode) {
        guard let file = files[node], file.handles <= 0, !file.isBusy, !tree.isNamed(node) else { return }
        if let name = file.stands, remotes[name]?.holder == node {
            remotes[name]?.holder = nil
            changedNames.insert(name)
        }
        files[node] = nil
        changedFiles.remove(node)
        tree.forget(node)
        released.append(node)
    }

    /// Files that are gone, name, handles and all, since the last call.
    mutating func takeReleased() -> [NameNode] {
        defer { released = [] }
        return released
    }

    /// No handle is open any more.
    mutating func closeAll() {
        for node in files.keys.sorted() {
            files[node]?.handles = 0
            release(node)
        }
    }

    /// Whether what stands in the bucket, under whatever name, is the content of the file.
    func isCurrent(_ node: NameNode) -> Bool {
        guard let file = files[node], let name = file.stands else { return false }
        return remotes[name]?.content == file.content
    }

    /// The content is not what it was when it was whole.
    mutating func unready(_ node: NameNode) { files[node]?.isReady = false }

    /// The content was lost: the file has again what stands in the bucket. False when nothing does.
    mutating func revert(_ node: NameNode) -> Bool {
        guard let name = files[node]?.stands, let remote = remotes[name] else { return false }
        files[node]?.content = remote.content
        files[node]?.isReady = false
        changedFiles.insert(node)
        return true
    }

    /// What a listing showed is there no longer, and nobody here has touched it.
    ///
    /// - Throws: `noEntry`, `isDirectory`; `EBUSY` when it is open, changed or under way.
    mutating func vanish(_ name: ByteName, in directory: NameNode) throws(Errno) {
        let node = try tree.child(name, of: directory)
        if tree.isDirectory(node) { throw .isDirectory }
        guard let file = files[node], let path = tree.path(node), file.stands == path, isCurrent(node),
            file.handles == 0, !file.isBusy, !isBusy(path)
        else { throw Errno(EBUSY) }
        remotes[path] = nil
        files[node]?.stands = nil
        _ = try tree.unlink(name, in: directory)
        release(node)
    }

    /// Others have written anew what a listing showed, and nobody here has touched: another file, at the same place in listings.
    ///
    /// - Throws: as `vanish`.
    mutating func supersede(
        _ name: ByteName,
        in directory: NameNode,
        _ generation: Generation
    ) throws(Errno) -> NameNode {
        let cookie = tree.entries[try tree.child(name, of: directory)]?.cookie
        try vanish(name, in: directory)
        return try adopt(name, in: directory, generation, cookie: cookie)
    }

    /// Names that stand in the bucket and are hidden here. `expire` those whose grace is over.
    package var tombstones: [ByteName] { remotes.keys.filter { isTombstone($0) }.sorted() }

    func isTombstone(_ name: ByteName) -> Bool {
        guard let remote = remotes[name], !remote.isForeign else { return false }
        return remote.holder.map { !tree.isNamed($0) } ?? true
    }

    /// Tombstones that may have become so since the last call.
    mutating func takeTombstones() -> [ByteName] { remotes.takeTouched().filter { isTombstone($0) }.sorted() }

    /// The grace of a tombstone is over: it may be deleted when nobody has it open.
    package mutating func expire(_ name: ByteName) {
        remotes[name]?.isDue = true
        changedNames.insert(name)
    }

    /// A start: everything is looked at again. Requests that `begin` named stay under way.
    mutating func resume() {
        changedFiles = Set(files.keys)
        changedNames = Set(remotes.keys)
        touchAll()
        for node in files.keys.sorted() { release(node) }
    }

    /// Everything counts as changed.
    mutating func touchAll() {
        files.touchAll()
        remotes.touchAll()
    }

    // MARK: What to do

    /// Whether the bucket is as the mount shows it, as far as contents are ready and graces over.
    package var isSettled: Bool {
        changedFiles.isEmpty && changedNames.isEmpty && busyNames.isEmpty && busyFolders.isEmpty
    }

    /// The requests that can be made now. None is for a name or a file that has one under way.
    ///
    /// - Parameter showsObject: whether what is read of an open file without a name comes from what stands in the bucket.
    package mutating func next(showsObject: (NameNode) -> Bool = { _ in true }) -> [NameAction] {
        var actions: [NameAction] = []
        folderPlans = [:]
        for node in changedFiles.sorted() {
            guard let action = action(for: node, showsObject) else { continue }
            begin(action)
            actions.append(action)
        }
        for name in changedNames.sorted() {
            guard let remote = remotes[name] else {
                changedNames.remove(name)
                continue
            }
            guard !isBusy(name) else { continue }
            if remote.holder == nil, remote.isDue, !remote.isForeign {
                // A file that comes there soon replaces it; if that fails, it is looked at again.
                if isWanted(name) { continue }
                busyNames.insert(name)
                actions.append(.delete(name, remote.generation))
            }
            changedNames.remove(name)
        }
        return actions
    }

    /// Whether a file here will soon be published under the name: then nothing needs to be deleted.
    private func isWanted(_ name: ByteName) -> Bool {
        guard let node = tree.node(at: name.segments), let file = files[node], file.isReady else { return false }
        return file.isBusy || changedFiles.contains(node)
    }

    private mutating func action(for node: NameNode, _ showsObject: (NameNode) -> Bool) -> NameAction? {
        // One that is busy is looked at again when its request has ended.
        guard let file = files[node], !file.isBusy, let path = tree.path(node) else {
            changedFiles.remove(node)
            return nil
        }
        let standing = file.stands.flatMap { name in remotes[name].map { (name: name, remote: $0) } }
        let isCurrent = standing?.remote.content == file.content
        if isCurrent && standing?.name == path || standing == nil && (!file.isReady || holdsBack(path.value)) {
            // Nothing to do until something changes.
            changedFiles.remove(node)
            return nil
        }
        if let standing, isCurrent || !file.isReady {
            if standing.name == path {
                changedFiles.remove(node)
                return nil
            }
            guard !isBusy(standing.name) else { return nil }
            guard !isBusy(path), blocker(of: path, for: node) == nil else {
                return parkingMove(node, standing.name, standing.remote)
            }
            if let reader = reader(of: path, for: node), showsObject(reader) { return keep(reader, path) }
            switch folderRename(from: standing.name, to: path) {
            case (.wait, _)?: return nil
            case (.rename(let directory), let pair)?: return .renameFolder(directory, from: pair.from, to: pair.to)
            case (.no, _)?, nil: break
            }
            return .move(
                node,
                content: standing.remote.content,
                from: standing.name,
                standing.remote.generation,
                to: path,
                replacing: expected(path)
            )
        }
        guard !isBusy(path), standing.map({ !isBusy($0.name) }) ?? true else { return nil }
        if blocker(of: path, for: node) != nil {
            return standing.flatMap { parkingMove(node, $0.name, $0.remote) }
        }
        if let reader = reader(of: path, for: node), showsObject(reader) { return keep(reader, path) }
        return .publish(node, content: file.content, name: path, replacing: expected(path))
    }

    /// The open file without a name that stands where this one shall go.
    private func reader(of path: ByteName, for node: NameNode) -> NameNode? {
        guard let holder = remotes[path]?.holder, holder != node, !tree.isNamed(holder),
            files[holder]?.handles ?? 0 > 0
        else { return nil }
        return holder
    }

    private mutating func keep(_ reader: NameNode, _ path: ByteName) -> NameAction? {
        guard files[reader]?.isBusy == false, let remote = remotes[path] else { return nil }
        parked += 1
        return .keep(reader, content: remote.content, from: path, remote.generation, to: "\(parking)\(parked)")
    }

    /// What a request must find under the name: what others wrote there is never replaced unseen.
    private func expected(_ name: ByteName) -> Generation? {
        remotes[name].flatMap { $0.isForeign ? nil : $0.generation }
    }

    /// The file that has a name here, and stands where this one shall go.
    private func blocker(of path: ByteName, for node: NameNode) -> NameNode? {
        guard let holder = remotes[path]?.holder, holder != node, tree.isNamed(holder) else { return nil }
        return holder
    }

    /// Out of the way, when the files that stand in each other's way make a circle and this one is its smallest.
    private mutating func parkingMove(_ node: NameNode, _ name: ByteName, _ remote: Remote) -> NameAction? {
        var current = node
        for _ in 0...files.keys.count {
            guard let path = tree.path(current), let next = blocker(of: path, for: current) else { return nil }
            if next == node {
                parked += 1
                return .move(
                    node,
                    content: remote.content,
                    from: name,
                    remote.generation,
                    to: "\(parking)\(parked)",
                    replacing: nil
                )
            }
            if next < node { return nil }
            current = next
        }
        return nil
    }

    /// Takes note of a request that is under way: one that `next` returned, or one of an earlier process.
    mutating func begin(_ action: NameAction) {
        switch action {
        case .publish(let node, _, let name, _):
            files[node]?.isBusy = true
            busyNames.insert(name)
        case .move(let node, _, let source, _, let name, _):
            files[node]?.isBusy = true
            busyNames.formUnion([source, name])
            noteParked(name)
        case .keep(let node, _, let source, _, let name):
            files[node]?.isBusy = true
            busyNames.formUnion([source, name])
            noteParked(name)
        case .delete(let name, _): busyNames.insert(name)
        case .renameFolder(_, let from, let to): beginFolder(FolderPair(from: from, to: to))
        }
    }

    /// A parking name of an earlier process is not used again.
    private mutating func noteParked(_ name: ByteName) {
        guard name.value.utf8.starts(with: parking.utf8) else { return }
        let digits = String(decoding: name.value.utf8.dropFirst(parking.utf8.count), as: UTF8.self)
        if let number = Int(digits) { parked = max(parked, number) }
    }
}
