import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage

/// Everything of a mount that is written to, but for I/O, clock and threads: events come in, records and actions go out.
///
/// Invariants, each of which a test keeps:
/// - State changes by records; a record is in `records` before any action that depends on it is returned, in the order of
///   the changes. The owner puts them into the journal under the lock that protects this value.
/// - A content is published only when all its bytes are in one place (`ready`), with the checksum of what applications wrote;
///   a name in the bucket is written only with the precondition that it still holds what is known.
/// - The session of a part is on stable storage before its first byte is sent, and the operation of a publication before it is
///   written.
/// - What all files together have sent and nobody has acknowledged is never more than the window.
/// - An object is given attributes only in the generation that is known to be the file's, and after they are on stable storage.
/// - When everything is published, patched, deleted and acknowledged, no action is left.
///
/// `next` looks only at what was touched since its last call, and at what waits for room when some was freed: its cost is that
/// of the change, whatever else waits. So one more invariant: to look at everything finds nothing that it had left out.
struct WriteBackEngine: Sendable {
    var state: WriteBackState
    let options: WriteBackOptions
    /// Names of what this process puts into the bucket begin so; nobody else has it.
    let prefix: String
    /// Of the mount, before every path.
    let root: ObjectPrefix
    var uploads: [NameNode: UploadLedger] = [:]
    var publications: [NameNode: Publishing] = [:]
    /// What went wrong last, for each file, and is not over.
    var failures: [NameNode: ObjectStoreError] = [:]
    /// How often it went wrong since the last success.
    var attempts: [NameNode: Int] = [:]
    /// Changes that are not in the journal yet.
    private var records: [WriteBackRecord] = []
    var queue: [WriteBackAction] = []
    /// Room of the disk that nothing takes any more, since somebody asked.
    private var freedBytes = 0
    /// Files whose object is being given their attributes.
    var patching: Set<NameNode> = []
    /// Files whose attributes were collected long enough.
    var duePatches: Set<NameNode> = []
    private var timers: Set<WriteBackTimer> = []
    /// Small files that were closed, and go up when no others are.
    private var gathering = SmallFileGathering()
    /// Files that somebody waits for: no grace is.
    private var hurried: Set<NameNode> = []
    /// Names that still stand in the bucket and are hidden here; some of them may be gone, or files again.
    private var tombstones: Set<ByteName> = []
    /// Files to look at, beside those that the state says were touched.
    private var touched: Set<NameNode> = []
    /// Of those, the ones whose upload has got an answer, or whose parts have changed.
    private var changedUploads: Set<NameNode> = []
    /// Files that were looked at since somebody asked.
    private var looked: Set<NameNode> = []
    /// Files that could do more if the window or the number of sessions allowed it.
    private var waitingForRoom: Set<NameNode> = []
    /// There may be more room than when they were looked at.
    private var isRoomFreed = false
    /// What is under way, counted once for each call of `next`.
    private var load: Load?

    /// What all files together have under way.
    private struct Load {
        /// Sent and not acknowledged.
        var bytes: Int
        var sessions: Int
    }
    /// Files whose checksums were not compared with the disk since the machine died.
    private(set) var unchecked: Set<NameNode> = []
    /// Everything is to be published now: no grace is waited for.
    var isDraining = false
    /// Ends the randomness: names of operations are a number of this process and its secret.
    private var lastOperation = 0
    private let secret: String

    /// A publication that is under way.
    struct Publishing: Sendable {
        var intent: WriteIntent
        /// Nil as long as the content is not whole in the bucket, or its checksum not known.
        var publication: FilePublication?
        var crc32c: CRC32C?
        var isMeasuring = false
        var isPaused = false
        var attempts = 0
        /// What the publication composes.
        var sources: Set<ComposeSource> = []
        /// Bytes of a put that is under way.
        var bytes = 0
        /// A put that waits for room in the window.
        var held: PublicationAction?
        /// It failed; when the pause is over it is given up, and begun anew by `NameTable`.
        var isFailed = false
    }

    /// - Parameters:
    ///   - state: as it was folded, and settled.
    ///   - secret: unguessable, and new for each process.
    init(_ state: WriteBackState, _ options: WriteBackOptions, root: ObjectPrefix, secret: String, isSameBoot: Bool) {
        self.state = state
        self.options = options
        self.root = root
        self.secret = secret
        prefix = PenstockPaths(root).written(secret)
        if !isSameBoot { unchecked = Set(state.staged.contents.filter { !$0.value.runs.runs.isEmpty }.keys) }
        for node in unchecked.sorted() { queue.append(.check(node)) }
        for (node, intent) in state.intents.sorted(by: { $0.key < $1.key }) {
            queue.append(.recognise(node, intent, state.files[node]?.standing))
        }
        touchAll()
    }

    // MARK: Records

    /// Applies a change and keeps its record.
    ///
    /// - Throws: what a system call would; then nothing has changed.
    @discardableResult
    mutating func record(_ event: WriteBackRecord.Event, request: UInt64 = 0) throws(Errno) -> KernelAnswer {
        let before = event.stagedNode.map { state.stagedBytes($0) } ?? 0
        let record = WriteBackRecord(event, request: request)
        let answer = try state.apply(record)
        records.append(record)
        if let node = event.stagedNode {
            let freed = before - state.stagedBytes(node)
            freedBytes += max(0, freed)
        }
        for (node, bytes) in state.takeGone() {
            discardUpload(node)
            failures[node] = nil
            attempts[node] = nil
            duePatches.remove(node)
            waitingForRoom.remove(node)
            hurried.remove(node)
            gathering.forget(node)
            freedBytes += bytes
        }
        for number in state.takeGarbage() { queue.append(.remove(staging: number)) }
        return answer
    }

    /// What is to be put into the journal, in this order.
    mutating func takeRecords() -> [WriteBackRecord] {
        defer { records = [] }
        return records
    }

    /// Bytes of the disk that may be given to others.
    mutating func takeFreed() -> Int {
        defer { freedBytes = 0 }
        return freedBytes
    }

    /// Takes note of what cannot fail: the state was looked at before.
    mutating func note(_ event: WriteBackRecord.Event) {
        do throws(Errno) { try record(event) } catch { preconditionFailure("a change that does not fit: \(error)") }
    }

    // MARK: What to do

    /// What to do now. Call it after each event, under the same lock.
    mutating func next() -> [WriteBackAction] {
        let nodes = takeTouched()
        for node in nodes where state.staged[node] != nil { advance(node) }
        beginNames()
        for node in touched.union(nodes).sorted() where publications[node] != nil { publish(node) }
        patch(nodes)
        for name in state.names.takeTombstones() {
            tombstones.insert(name)
            waitForTombstone(name)
        }
        load = nil
        defer { queue = [] }
        return queue
    }

    /// Files to look at now, in order.
    private mutating func takeTouched() -> [NameNode] {
        var nodes = state.takeTouched().union(touched)
        if isRoomFreed { nodes.formUnion(waitingForRoom) }
        (touched, isRoomFreed) = ([], false)
        looked.formUnion(nodes)
        return nodes.sorted()
    }

    /// Files that something was done to since the last call.
    mutating func takeLooked() -> Set<NameNode> {
        defer { looked = [] }
        return looked
    }

    /// Somebody waits until the file is published: what would wait for a grace, or for others, does not.
    mutating func hurry(_ node: NameNode) {
        hurried.insert(node)
        touch(node)
    }

    /// The file is published: nobody waits for it any more.
    mutating func calm(_ node: NameNode) { hurried.remove(node) }

    /// The next call of `next` looks at it again.
    mutating func touch(_ node: NameNode) { touched.insert(node) }

    /// The next call of `next` looks at everything again.
    mutating func touchAll() {
        state.touchAll()
        touched.formUnion(publications.keys)
        changedUploads.formUnion(uploads.keys)
        isRoomFreed = true
    }

    /// Something is not under way any more.
    mutating func freeRoom() {
        isRoomFreed = true
        load = nil
    }

    /// Bytes that were sent and not acknowledged, of all files.
    var unacknowledged: Int {
        uploads.values.reduce(0) { $0 + $1.unacknowledged } + publications.values.reduce(0) { $0 + $1.bytes }
    }

    private func countLoad() -> Load {
        load ?? Load(bytes: unacknowledged, sessions: uploads.values.reduce(0) { $0 + $1.underWay })
    }

    /// Takes room for what is sent in one request.
    ///
    /// - Returns: false when there is none; the file is looked at again when there is.
    mutating func takeRoom(_ bytes: Int, for node: NameNode) -> Bool {
        var now = countLoad()
        guard bytes <= options.window - now.bytes else {
            load = now
            waitingForRoom.insert(node)
            return false
        }
        now.bytes += bytes
        load = now
        waitingForRoom.remove(node)
        return true
    }

    private mutating func stopWaiting(_ node: NameNode) {
        if publications[node]?.held == nil { waitingForRoom.remove(node) }
    }

    /// Whether the file goes up in one request.
    func isSmall(_ node: NameNode) -> Bool {
        (state.staged[node]?.size ?? 0) <= options.chunk && uploads[node]?.parts.isEmpty ?? true
            && state.sessions[node]?.isEmpty ?? true
    }

    /// What can be done for a file that has bytes here.
    private mutating func advance(_ node: NameNode) {
        guard let file = state.files[node], let name = state.names.files[node] else { return }
        if state.names.isCurrent(node) {
            // It is all in the bucket; who has it open goes on reading here.
            if name.handles <= 0, !name.isBusy { unstage(node) }
            return
        }
        // Not the whole value: to copy it costs more than to look.
        guard !file.isTorn, !unchecked.contains(node), let isSealed = state.staged[node]?.isSealed else { return }
        if !state.names.tree.isNamed(node) {
            // Nobody will ever see it again under a name.
            if !name.isBusy { discardUpload(node) }
            return
        }
        if isSealed, isSmall(node) {
            if !name.isReady { makeReady(node, name.content, state.staged[node]?.size ?? 0) }
            return
        }
        send(node)
        guard isSealed, !name.isReady, let count = state.staged[node]?.partCount, count > 0,
            uploads[node]?.storedCount == count
        else { return }
        note(.ready(node, content: name.content))
    }

    /// What can be done for the parts of a file.
    private mutating func send(_ node: NameNode) {
        // Offered once: nothing follows from that but what is done here.
        let offered = state.staged.update(quietly: node) { file in
            var versions: [PartVersion] = []
            while let version = file?.offerPart() { versions.append(version) }
            return versions
        }
        guard
            !offered.isEmpty || changedUploads.contains(node) || waitingForRoom.contains(node)
                || uploads[node] == nil && state.sessions[node]?.isEmpty == false
        else { return }
        var ledger = uploads[node] ?? makeLedger(node)
        for version in offered { ledger.add(version) }
        let now = countLoad()
        let others = Load(
            bytes: now.bytes - (uploads[node]?.unacknowledged ?? 0),
            sessions: now.sessions - (uploads[node]?.underWay ?? 0)
        )
        let actions = ledger.next(
            window: max(0, options.window - now.bytes),
            sessions: max(0, options.sessions - others.sessions)
        )
        load = Load(bytes: others.bytes + ledger.unacknowledged, sessions: others.sessions + ledger.underWay)
        if ledger.wantsRoom { waitingForRoom.insert(node) } else { stopWaiting(node) }
        changedUploads.remove(node)
        uploads[node] = ledger.isEmpty ? nil : ledger
        for part in (state.sessions[node] ?? [:]).keys.sorted() where ledger.parts[part] == nil {
            note(.sessionEnded(node, part: part))
        }
        for action in actions { enqueue(node, action) }
        if let error = ledger.failure, failures[node] == nil { fail(node, error) }
    }

    private func makeLedger(_ node: NameNode) -> UploadLedger {
        UploadLedger(
            prefix: "\(prefix)\(node.number)-",
            chunk: options.chunk,
            sessions: (state.sessions[node] ?? [:]).sorted { $0.key < $1.key }.map(\.value),
            granularity: options.granularity
        )
    }

    private mutating func enqueue(_ node: NameNode, _ action: UploadAction) {
        switch action {
        case .note(let upload): note(.session(node, upload))
        case .record(_, let upload):
            note(.session(node, upload))
            queue.append(.upload(node, action))
        default: queue.append(.upload(node, action))
        }
    }

    private mutating func makeReady(_ node: NameNode, _ content: Int, _ size: Int) {
        if isDraining || hurried.contains(node) || isOver(node, content, size) { note(.ready(node, content: content)) }
    }

    /// Whether the grace of a small file is over; begins it when it was not begun.
    private mutating func isOver(_ node: NameNode, _ content: Int, _ size: Int) -> Bool {
        if size > 0 {
            if options.quiet == .zero || gathering.takeDue(node) { return true }
            gathering.add(node)
            wait(.quiet, options.quiet)
            return false
        }
        // Locks and marks of other programs come and go without costing a request.
        let timer = WriteBackTimer.emptyFile(node, content: content)
        if timers.contains(timer), !isWaiting(timer) {
            timers.remove(timer)
            return true
        }
        wait(timer, options.emptyGrace)
        return false
    }

    private mutating func unstage(_ node: NameNode) {
        discardUpload(node)
        note(.unstaged(node))
    }

    /// What there is of the upload in the bucket has no purpose any more.
    private mutating func discardUpload(_ node: NameNode) {
        stopWaiting(node)
        changedUploads.remove(node)
        guard var ledger = uploads.removeValue(forKey: node) else { return }
        freeRoom()
        for part in ledger.parts.keys.sorted() { ledger.drop(part) }
        for action in ledger.next(window: 0, sessions: 0) { queue.append(.upload(node, action)) }
    }

    /// The answer to an action of the upload. One that nobody wants any more leaves nothing in the bucket.
    mutating func upload(_ node: NameNode, _ body: (inout UploadLedger) -> Void) {
        guard var ledger = uploads.removeValue(forKey: node) else {
            var orphan = UploadLedger(prefix: prefix, chunk: options.chunk, granularity: options.granularity)
            body(&orphan)
            for action in orphan.next(window: 0, sessions: 0) { queue.append(.upload(node, action)) }
            return
        }
        body(&ledger)
        uploads[node] = ledger
        touchUpload(node)
    }

    /// What there is of the upload in the bucket, or is under way, has changed.
    mutating func touchUpload(_ node: NameNode) {
        touched.insert(node)
        if uploads[node] != nil { changedUploads.insert(node) }
        freeRoom()
    }

    /// A part of the file has other bytes from now on.
    mutating func drop(_ node: NameNode, _ versions: [PartVersion]) {
        if !versions.isEmpty { touchUpload(node) }
        for version in versions {
            uploads[node]?.drop(version.part)
            if state.sessions[node]?[version.part] != nil { note(.sessionEnded(node, part: version.part)) }
        }
    }

    // MARK: Time

    private var waiting: Set<WriteBackTimer> = []

    private func isWaiting(_ timer: WriteBackTimer) -> Bool { waiting.contains(timer) }

    mutating func wait(_ timer: WriteBackTimer, _ duration: Duration) {
        guard timers.insert(timer).inserted else { return }
        waiting.insert(timer)
        queue.append(.wait(timer, duration))
    }

    mutating func elapsed(_ timer: WriteBackTimer) {
        waiting.remove(timer)
        switch timer {
        case .tombstone(let name, let generation):
            timers.remove(timer)
            if state.names.remotes[name]?.generation == generation, state.names.isTombstone(name) {
                note(.expired(name))
            }
        case .emptyFile(let node, let content):
            touch(node)
            if state.names.content(node) != content || state.names.files[node]?.isReady == true { timers.remove(timer) }
        case .quiet:
            timers.remove(timer)
            for node in gathering.tick() { touch(node) }
            if !gathering.isEmpty { wait(.quiet, options.quiet) }
        case .patch(let node):
            timers.remove(timer)
            touch(node)
            if state.unpatched.contains(node), patchTarget(node) != nil { duePatches.insert(node) }
        case .retry(let node):
            timers.remove(timer)
            failures[node] = nil
            uploads[node]?.retryFailed()
            touchUpload(node)
            retryPublication(node)
        }
    }

    /// Whether something stands in the bucket below a directory that was unlinked here.
    mutating func hasTombstones(below directory: ByteName) -> Bool {
        tombstones = tombstones.filter { state.names.isTombstone($0) }
        let start = directory.value + "/"
        return tombstones.contains { $0.value.utf8.starts(with: start.utf8) }
    }

    private mutating func waitForTombstone(_ name: ByteName) {
        guard let remote = state.names.remotes[name], !remote.isDue else { return }
        if isDraining {
            note(.expired(name))
        } else {
            wait(.tombstone(name, remote.generation), options.unlinkGrace)
        }
    }

    /// Something failed in a way that asking again at once does not mend.
    mutating func fail(_ node: NameNode, _ error: ObjectStoreError) {
        failures[node] = error
        attempts[node, default: 0] += 1
        wait(.retry(node), options.pause(attempts[node, default: 1]))
    }

    /// Nothing waits any more: what has a grace is done now.
    mutating func drain() {
        isDraining = true
        touchAll()
    }

    /// Whether everything that applications wrote stands in the bucket under its name, with its attributes, and nothing else.
    var isSettled: Bool {
        publications.isEmpty && state.intents.isEmpty && state.names.isSettled && !hasPatches
            && state.staged.keys.allSatisfy { state.names.isCurrent($0) || !state.names.tree.isNamed($0) }
    }

    /// A new name for an operation: says which content it writes.
    mutating func operation(_ content: Int) -> String {
        lastOperation += 1
        return "\(secret)-\(lastOperation)-\(content)"
    }

    /// The content that an operation writes.
    static func content(ofOperation operation: String) -> Int? {
        operation.split(separator: "-").last.flatMap { Int($0) }
    }

    mutating func checked(_ node: NameNode, _ wrong: [Range<Int>]) {
        unchecked.remove(node)
        touch(node)
        if !wrong.isEmpty, state.staged[node] != nil { note(.unproven(node, wrong)) }
    }
}

extension WriteBackRecord.Event {
    /// Whose staged bytes it may make fewer.
    fileprivate var stagedNode: NameNode? {
        switch self {
        case .truncated(let node, _, _), .damaged(let node), .unstaged(let node): node
        default: nil
        }
    }
}
