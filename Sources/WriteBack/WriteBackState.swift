import Checksums
import LinuxPlatform
import ObjectStorage

/// Everything that a writable mount must still know after its process has died, as a value that changes by records alone.
///
/// A running process applies a record and puts it into the journal under one lock; the next process applies the same
/// records in the same order, and has the same state. That is the first invariant: for any row of records, the
/// checkpoint of the state that they led to is the checkpoint of the state that is read back from the checkpoint of any
/// beginning of the row and the rest. What is not durable (writes on their way, offers, requests under way) is not here but
/// for what `StagedFileState` keeps of a write that has begun.
struct WriteBackState: Sendable {
    /// Changed by records; by others only what no record keeps (`next`).
    var names: NameTable
    private(set) var files = TrackedDictionary<NameNode, WrittenFile>()
    /// Of files, directories and links; of the root, too.
    private(set) var attributes: [NameNode: NodeAttributes] = [:]
    /// Files whose attributes were changed since the metadata of their object was known to say the same.
    private(set) var unpatched: Set<NameNode> = []
    /// The bytes of files that are not, or not only, what stands in the bucket.
    var staged = TrackedDictionary<NameNode, StagedFileState>()
    private(set) var sessions: [NameNode: [Int: UploadRecord]] = [:]
    private(set) var intents: [NameNode: WriteIntent] = [:]
    private var answers = AnswerTable()
    /// Changed by records; by others only what no record keeps (`news`).
    var saves: SaveLedger
    private(set) var lastStaging = 0
    /// Numbers of staging files that no record names any more.
    private var garbage: [Int] = []
    /// Files that are gone since somebody asked.
    private var goneFiles: [(node: NameNode, bytes: Int)] = []
    let layout: PartLayout

    /// - Parameters:
    ///   - parking: a prefix in the bucket that no file has.
    ///   - holdsBack, renamesFolders: as of `NameTable`.
    ///   - keepsSaves: `saves` is asked.
    init(
        parking: String,
        layout: PartLayout = .standard,
        root: NodeAttributes,
        holdsBack: @escaping @Sendable (String) -> Bool = { _ in false },
        renamesFolders: Bool = false,
        keepsSaves: Bool = true
    ) {
        saves = SaveLedger(isKept: keepsSaves)
        names = NameTable(parking: parking, renamesFolders: renamesFolders, holdsBack: holdsBack)
        self.layout = layout
        attributes[names.tree.root] = root
    }

    /// The answer to a request that was done; nil when it was not, or long ago.
    func answer(_ request: UInt64) -> KernelAnswer? { answers[request] }

    /// In bytes, as applications see it; nil for what is no file.
    func size(_ node: NameNode) -> Int? {
        files[node].map { staged[node]?.size ?? $0.standing?.size ?? 0 }
    }

    /// Whether bytes of the file are read from what stands in the bucket.
    func showsObject(_ node: NameNode) -> Bool { Self.showsObject(files[node], staged[node]) }

    private static func showsObject(_ file: WrittenFile?, _ staged: StagedFileState?) -> Bool {
        guard let standing = file?.standing, standing.size > 0 else { return false }
        guard let staged else { return true }
        return !staged.written.contains(0..<staged.kept)
    }

    /// What the names want now.
    mutating func nextNameActions() -> [NameAction] {
        // Not `self`: names would be copied whole to be changed beside it.
        let (files, staged) = (files.contents, staged.contents)
        return names.next { Self.showsObject(files[$0], staged[$0]) }
    }

    /// Files that something was done to since the last call.
    mutating func takeTouched() -> Set<NameNode> {
        names.files.takeTouched().union(files.takeTouched()).union(staged.takeTouched())
    }

    /// Everything counts as changed.
    mutating func touchAll() {
        names.touchAll()
        files.touchAll()
        staged.touchAll()
    }

    /// Bytes of the local disk that the file takes.
    func stagedBytes(_ node: NameNode) -> Int { staged[node]?.written.count ?? 0 }

    /// Numbers of staging files that are to be removed once the records so far are safe.
    mutating func takeGarbage() -> [Int] {
        defer { garbage = [] }
        return garbage
    }

    /// Files that are gone since the last call, and what they took of the disk: their uploads have no purpose any more.
    mutating func takeGone() -> [(node: NameNode, bytes: Int)] {
        defer { goneFiles = [] }
        return goneFiles
    }

    // MARK: Records

    /// Does what the record says.
    ///
    /// - Returns: the answer to the request that it belongs to.
    /// - Throws: what a system call would; then nothing has changed. A record of a journal that throws does not fit it.
    @discardableResult
    mutating func apply(_ record: WriteBackRecord) throws(Errno) -> KernelAnswer {
        let answer = try change(record.event)
        dropReleased()
        if record.request != 0 { answers.keep(answer, of: record.request) }
        return answer
    }

    /// Forgets files that have neither a name nor a handle.
    private mutating func dropReleased() {
        for node in names.takeReleased() {
            if let number = files[node]?.staging { garbage.append(number) }
            goneFiles.append((node, stagedBytes(node)))
            files[node] = nil
            attributes[node] = nil
            staged[node] = nil
            sessions[node] = nil
            unpatched.remove(node)
        }
    }

    /// The kernel has the answer.
    mutating func forgetAnswer(_ request: UInt64) { answers.forget(request) }

    private mutating func change(_ event: WriteBackRecord.Event) throws(Errno) -> KernelAnswer {
        switch event {
        case .created, .madeDirectory, .removedDirectory, .adopted, .adoptedDirectory, .vanished, .superseded,
            .unlinked, .renamed:
            return try changeNames(event)
        case .opened(let node, let handle):
            guard files[node] != nil else { throw .stale }
            open(node, handle)
            return KernelAnswer(node: node)
        case .closed(let node, let handle): close(node, handle)
        case .detached:
            for node in files.keys where files[node]?.writers ?? 0 > 0 {
                files[node]?.writers = 0
                seal(node)
            }
            names.closeAll()
            answers = AnswerTable()
        case .attributes(let node, let new):
            guard node == names.tree.root || names.tree.entries[node] != nil else { throw .stale }
            if files[node] != nil, let old = attributes[node], !ObjectMetadata.isSame(old, new) {
                unpatched.insert(node)
                files.touch(node)
            }
            attributes[node] = new
        case .staged, .overwriting, .wrote, .truncated, .synced, .unsynced, .damaged, .unproven, .unstaged:
            try changeBytes(event)
        case .session, .sessionEnded, .ready, .began, .ended, .expired, .deleted, .regenerated, .patched:
            try changeBucket(event)
        case .recorded(let top): saves.recorded(top)
        case .withdrawn(let name): saves.withdrawn(name)
        case .counters, .node, .name, .standing, .file, .unpatched, .told, .answer: try restore(event)
        case .save, .written, .lostName: try restoreSaves(event)
        }
        return KernelAnswer()
    }

    private mutating func open(_ node: NameNode, _ handle: WriteBackRecord.Handle) {
        if handle == .none { return }
        names.opened(node)
        guard handle == .writer else { return }
        files[node]?.writers += 1
        staged[node]?.reopen()
    }

    /// The last writer has closed it.
    private mutating func seal(_ node: NameNode) {
        staged[node]?.seal()
        saves.closed(node)
    }

    private mutating func close(_ node: NameNode, _ handle: WriteBackRecord.Handle) {
        guard handle != .none, names.files[node]?.handles ?? 0 > 0 else { return }
        if handle == .writer, let writers = files[node]?.writers, writers > 0 {
            files[node]?.writers = writers - 1
            if writers == 1 { seal(node) }
        }
        names.closed(node)
    }

    // MARK: Names

    private mutating func touch(_ directory: NameNode, _ time: UnixTime) {
        attributes[directory]?.modified = time
        attributes[directory]?.changed = time
    }

    /// A file that is what a listing showed.
    private mutating func show(_ node: NameNode, _ identity: ObjectIdentity, _ new: NodeAttributes) -> KernelAnswer {
        files[node] = WrittenFile()
        files[node]?.standing = identity
        attributes[node] = new
        return KernelAnswer(node: node)
    }

    private mutating func changeNames(_ event: WriteBackRecord.Event) throws(Errno) -> KernelAnswer {
        switch event {
        case .created(let name, let directory, let new, let handle):
            let node = try names.create(name, in: directory)
            files[node] = WrittenFile()
            staged[node] = StagedFileState(layout: layout)
            attributes[node] = new
            touch(directory, new.modified)
            saves.created(node, names.tree)
            if handle == .none { names.closed(node) }
            if handle == .writer { files[node]?.writers = 1 } else { seal(node) }
            return KernelAnswer(node: node, isNew: true)
        case .madeDirectory(let name, let directory, let new):
            let node = try names.makeDirectory(name, in: directory)
            attributes[node] = new
            touch(directory, new.modified)
            return KernelAnswer(node: node, isNew: true)
        case .adoptedDirectory(let name, let directory, let new):
            let node = try names.makeDirectory(name, in: directory)
            attributes[node] = new
            return KernelAnswer(node: node)
        case .removedDirectory(let name, let directory, let time):
            let node = try names.tree.child(name, of: directory)
            try names.removeDirectory(name, in: directory)
            lostDirectory(node, name, of: directory)
            attributes[node] = nil
            touch(directory, time)
        case .adopted(let name, let directory, let identity, let new):
            return show(try names.adopt(name, in: directory, identity.generation), identity, new)
        case .superseded(let name, let directory, let identity, let new):
            let left = departures(name, directory)
            let node = try names.supersede(name, in: directory, identity.generation)
            saves.removed(left)
            saves.doubted(node, names.tree)
            return show(node, identity, new)
        case .vanished(let name, let directory):
            let left = departures(name, directory)
            try names.vanish(name, in: directory)
            saves.removed(left)
        case .unlinked(let name, let directory, let time):
            let left = departures(name, directory)
            try names.unlink(name, in: directory)
            saves.removed(left)
            touch(directory, time)
        case .renamed(let name, let directory, let newName, let newDirectory, let isReplacing, let time):
            let replaced = try? names.tree.child(newName, of: newDirectory)
            let (moved, overwritten) = (
                departures(name, directory, to: newDirectory), departures(newName, newDirectory)
            )
            try names.rename(name, in: directory, to: newName, in: newDirectory, replaces: isReplacing)
            if let replaced, names.tree.entries[replaced] == nil {
                attributes[replaced] = nil
                saves.forget(replaced)
            }
            named(newName, newDirectory, from: name, directory, moved, overwritten)
            touch(directory, time)
            touch(newDirectory, time)
        default: break
        }
        return KernelAnswer()
    }

    // MARK: Bytes

    /// The content is another from now on, where it was whole until now.
    private mutating func markChanged(_ node: NameNode) {
        files[node]?.isTorn = false
        saves.changed(node, names.tree)
        if files[node]?.writers ?? 0 > 0 { staged[node]?.reopen() }
        guard names.files[node]?.isReady == true || names.isCurrent(node) else { return }
        _ = names.changed(node)
    }

    /// Nobody wrote the content as it is now.
    private mutating func tear(_ node: NameNode) {
        files[node]?.isTorn = true
        names.unready(node)
    }

    /// The file has bytes of its own: those of the object show through.
    private mutating func stage(_ node: NameNode, kept: Int) {
        guard staged[node] == nil else { return }
        var state = StagedFileState(kept: kept, layout: layout)
        if files[node]?.writers == 0 { state.seal() }
        staged[node] = state
    }

    private mutating func changeBytes(_ event: WriteBackRecord.Event) throws(Errno) {
        switch event {
        case .staged(let node, let number, let kept):
            guard files[node] != nil else { throw .stale }
            stage(node, kept: kept)
            files[node]?.staging = number
            lastStaging = max(lastStaging, number)
        case .overwriting(let node, let range):
            guard staged[node] != nil else { throw .stale }
            markChanged(node)
            staged[node]?.forgetChecksums(of: range)
        case .wrote(let node, let range, let runs, let time):
            guard staged[node] != nil else { throw .stale }
            markChanged(node)
            staged[node]?.wrote(range, checksums: runs)
            attributes[node]?.modified = time
            attributes[node]?.changed = time
        case .truncated(let node, let size, let time):
            guard let file = files[node] else { throw .stale }
            markChanged(node)
            stage(node, kept: size == 0 ? 0 : file.standing?.size ?? 0)
            _ = staged[node]?.truncate(to: size)
            attributes[node]?.modified = time
            attributes[node]?.changed = time
        case .synced(let node, let ranges): staged[node]?.synchronized(ranges)
        case .unsynced(let node, let error): staged[node]?.failed(error)
        case .unproven(let node, let ranges):
            for range in ranges { staged[node]?.forgetChecksums(of: range) }
            tear(node)
        case .damaged(let node):
            dropStaging(node)
            staged[node] = nil
            saves.doubted(node, names.tree)
            if !names.revert(node) {
                stage(node, kept: 0)
                tear(node)
            }
        case .unstaged(let node):
            dropStaging(node)
            if names.isCurrent(node) { staged[node] = nil }
        default: break
        }
    }

    private mutating func dropStaging(_ node: NameNode) {
        if let number = files[node]?.staging { garbage.append(number) }
        files[node]?.staging = nil
        sessions[node] = nil
    }

    // MARK: The bucket

    private mutating func changeBucket(_ event: WriteBackRecord.Event) throws(Errno) {
        switch event {
        case .session(let node, let record):
            if files[node] != nil { sessions[node, default: [:]][record.version.part] = record }
        case .sessionEnded(let node, let part): sessions[node]?[part] = nil
        case .ready(let node, let content): names.ready(node, content)
        case .began(let intent):
            guard let node = intent.node else { throw .invalidArgument }
            names.begin(intent.action)
            intents[node] = intent
            guard case .publish = intent.action, var file = files[node] else { break }
            if !file.operations.contains(intent.operation) {
                file.operations = file.operations.suffix(WriteBackRecord.operationLimit - 1) + [intent.operation]
            }
            files[node] = file
        case .ended(let node, let content, let outcome, let identity):
            guard let intent = intents.removeValue(forKey: node) else { throw .invalidArgument }
            end(intent, node, content, outcome, identity)
        case .expired(let name): names.expire(name)
        case .deleted(let name, let generation): names.finished(.delete(name, generation), .done(nil))
        case .regenerated(let name, let generation):
            names.regenerate(name, generation)
            if let holder = names.remotes[name]?.holder { files[holder]?.standing?.generation = generation }
        case .patched(let node): unpatched.remove(node)
        default: break
        }
    }

    private mutating func end(
        _ intent: WriteIntent,
        _ node: NameNode,
        _ content: Int,
        _ outcome: NameOutcome,
        _ identity: ObjectIdentity?
    ) {
        names.finished(intent.action.with(content: content), outcome)
        switch outcome {
        case .done:
            files[node]?.standing = identity
            if case .publish(_, let wanted, _, _) = intent.action, wanted == content { files[node]?.operations = [] }
        case .conflict:
            files[node]?.operations = []
            if names.files[node]?.stands == nil { files[node]?.standing = nil }
            saves.doubted(node, names.tree)
            // What others wrote has the name now: a file of its own.
            for found in names.files.keys where files[found] == nil {
                files[found] = WrittenFile()
                files[found]?.standing = identity
                attributes[found] = attributes[node]
            }
        case .sourceGone: files[node]?.standing = nil
        case .failed: break
        }
    }
}

extension WriteBackState {
    /// After the last record of a start.
    ///
    /// - Parameters:
    ///   - isSameBoot: otherwise only what was synced is there, and a file that lost something is torn.
    ///   - wasOpen: files that somebody could write to when the machine died.
    mutating func settle(isSameBoot: Bool, wasOpen: Set<NameNode>) {
        names.resume()
        dropReleased()
        guard !isSameBoot else { return }
        for (node, state) in staged.contents {
            let record = state.record
            staged[node] = StagedFileState(record, isSameBoot: false, layout: layout)
            // Declared and never written, or cut off: nothing is missing of it, unless its writer was not done.
            if record.written != record.synced || state.isSizeUnsafe && wasOpen.contains(node) { tear(node) }
        }
    }
}

// A checkpoint: records that make an empty state this one.
extension WriteBackState {
    var checkpoint: [WriteBackRecord] {
        let tree = names.tree
        var events: [WriteBackRecord.Event] = [
            .counters(
                node: tree.last,
                cookie: tree.lastCookie,
                content: names.lastContent,
                parked: names.parked,
                staging: lastStaging
            ),
            .attributes(
                tree.root,
                attributes[tree.root] ?? NodeAttributes(mode: 0o755, user: 0, group: 0, time: .init(seconds: 0))
            ),
        ]
        for (node, var entry) in tree.ordered {
            // What a directory holds says so itself, and an intent says who is busy.
            if entry.children != nil { entry.children = [:] }
            events.append(.node(node, entry))
        }
        for (node, var file) in names.files.contents.sorted(by: { $0.key < $1.key }) {
            file.isBusy = false
            events.append(.name(node, file))
        }
        for (name, remote) in names.remotes.contents.sorted(by: { $0.key < $1.key }) {
            events.append(.standing(name, remote))
        }
        for (node, new) in attributes.sorted(by: { $0.key < $1.key }) where node != tree.root {
            events.append(.attributes(node, new))
        }
        for (node, var file) in files.contents.sorted(by: { $0.key < $1.key }) {
            file.content = staged[node]?.record
            events.append(.file(node, file))
            if staged[node]?.isSizeUnsafe == false { events.append(.synced(node, ExtentMap())) }
        }
        for (node, records) in sessions.sorted(by: { $0.key < $1.key }) {
            for record in records.sorted(by: { $0.key < $1.key }) { events.append(.session(node, record.value)) }
        }
        for (_, intent) in intents.sorted(by: { $0.key < $1.key }) { events.append(.began(intent)) }
        for node in unpatched.sorted() { events.append(.unpatched(node)) }
        for node in names.conflicts { events.append(.told(node, isLost: false)) }
        for node in names.lost { events.append(.told(node, isLost: true)) }
        for (request, answer) in answers.all { events.append(.answer(request, answer)) }
        events += saveEvents
        return events.map { WriteBackRecord($0) }
    }

    private mutating func restore(_ event: WriteBackRecord.Event) throws(Errno) {
        switch event {
        case .counters(let node, let cookie, let content, let parked, let staging):
            names.tree.skip(to: node, cookie: cookie)
            names.lastContent = content
            names.parked = parked
            lastStaging = staging
        case .node(let node, let entry): try names.tree.restore(node, entry)
        case .name(let node, let file):
            guard names.tree.entries[node] != nil, !names.tree.isDirectory(node) else { throw .invalidArgument }
            names.files[node] = file
        case .standing(let name, let remote): names.remotes[name] = remote
        case .file(let node, let file):
            guard names.files[node] != nil else { throw .invalidArgument }
            var kept = file
            kept.content = nil
            files[node] = kept
            staged[node] = file.content.map { StagedFileState($0, isSameBoot: true, layout: layout) }
        case .unpatched(let node):
            guard files[node] != nil else { throw .invalidArgument }
            unpatched.insert(node)
        case .told(let node, let isLost): if isLost { names.lost.append(node) } else { names.conflicts.append(node) }
        case .answer(let number, let answer): answers.keep(answer, of: number)
        default: break
        }
    }
}
