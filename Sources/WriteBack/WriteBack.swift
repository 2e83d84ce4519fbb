package import LinuxPlatform
import Manifests
package import ObjectStorage

/// A tree of files that is written to here and stands in a bucket a little later: what was synced is never lost, what is
/// visible is never torn.
///
/// `WriteBackEngine` decides; this performs. Every change goes through `change`: the engine is changed, says what to record and
/// what to do, the records go into the journal's queue, all under one lock; then, without the lock, the journal is written and
/// the actions begin. Calls of the kernel write to the page cache themselves; what waits for a disk is done by a few threads of
/// its own; requests to the bucket are tasks, as many as window and sessions allow.
package final class WriteBack: Sendable {
    /// Starts what the engine wants done. Tests do it in an order of their own.
    package typealias Starter = @Sendable (@escaping @Sendable () async -> Void) -> Void

    /// Looks after a change; what to call, outside of the lock, when it has seen what it waits for.
    typealias Watcher = @Sendable (inout Core) -> (@Sendable () -> Void)?

    struct Core {
        var engine: WriteBackEngine
        var budget: StagingBudget
        /// Writers that wait for room.
        var writers: [StagingBudget.Ticket: @Sendable (Errno?) -> Void] = [:]
        /// Calls that a signal may end.
        var calls = WaitingCalls()
        /// The staging files, by number.
        var files: [Int: any WritableFile] = [:]
        /// Those whose name is on stable storage.
        var named: Set<Int> = []
        var lastStaging = 0
        /// The last record that was enqueued.
        var position: JournalPosition?
        /// Until when the names of a directory are known, as the bucket has them.
        var listed: [NameNode: MonotonicInstant] = [:]
        /// Directories that this process made: the bucket had nothing below them.
        var made: Set<NameNode> = []
        /// Called after each change; gone when they say so.
        var watchers: [Int: Watcher] = [:]
        var lastWatcher = 0
        var observer: (@Sendable (TreeChange) -> Void)?
        /// Nothing begins any more.
        var isClosed = false
        /// When the oldest change that is not in the bucket was made, by file.
        var since: [NameNode: MonotonicInstant] = [:]
        /// Staging files that were not what the journal says.
        var damaged = 0
        /// What the bucket said last when it refused something that is asked again.
        var lastError: ObjectStoreError?
    }

    let core: Lock<Core>
    let journal: Journal
    let directory: any WritableDirectory
    let store: any ObjectStore
    let root: ObjectPrefix
    let time: any TimeSource
    package let options: WriteBackOptions
    let pool: WorkerPool
    let buffers: BufferPool
    let space: @Sendable () -> FilesystemSpace?
    let isKilled: @Sendable (Int32) -> Bool
    /// Of applications.
    let reading: any ObjectReading
    /// Of what is published.
    let plainReading: PlainReading
    let mayWrite: @Sendable () async throws(ObjectStoreError) -> Void
    private let start: Starter

    /// What a start needs from outside.
    package struct Surroundings: Sendable {
        package var store: any ObjectStore
        /// Where in the bucket the tree stands.
        package var root: ObjectPrefix
        package var time: any TimeSource
        /// What the kernel calls this run of the machine; `Journal.thisBoot`.
        package var boot: [UInt8]
        /// No handle and no request of an earlier process will come again: the filesystem was mounted anew.
        package var isNewMount: Bool
        /// Nil: a request for each read.
        package var reading: (any ObjectReading)?
        /// Threads for work that waits for the disk.
        package var diskThreads = 2
        /// Asked before each request that changes what stands under a name of the tree; it throws what is tried again.
        package var mayWrite: @Sendable () async throws(ObjectStoreError) -> Void = {
            () async throws(ObjectStoreError) in
        }
        /// Whether a thread is about to end; see `ProcessStatus.isKilled`.
        package var isKilled: @Sendable (Int32) -> Bool = { ProcessStatus.isKilled($0) }
        /// The room of the disk; nil where nobody knows.
        package var space: @Sendable () -> FilesystemSpace? = { nil }
        package var start: Starter = { body in Task { await body() } }

        package init(
            store: any ObjectStore,
            root: ObjectPrefix,
            time: any TimeSource,
            boot: [UInt8],
            isNewMount: Bool
        ) {
            self.store = store
            self.root = root
            self.time = time
            self.boot = boot
            self.isNewMount = isNewMount
        }
    }

    /// Goes on where an earlier process ended, or begins. Nothing is asked of the bucket before `begin`.
    ///
    /// - Parameter directory: of this process alone; see `StagingDirectory`.
    /// - Throws: `damaged` when something that was promised cannot be read; what the disk says.
    package init(
        _ directory: any WritableDirectory,
        _ surroundings: Surroundings,
        _ options: WriteBackOptions = WriteBackOptions()
    ) throws(JournalError) {
        self.directory = directory
        self.options = options
        store = surroundings.store
        root = surroundings.root
        time = surroundings.time
        space = surroundings.space
        isKilled = surroundings.isKilled
        mayWrite = surroundings.mayWrite
        plainReading = PlainReading(surroundings.store)
        reading = surroundings.reading ?? plainReading
        start = surroundings.start
        do throws(Errno) {
            pool = try WorkerPool(name: "staging", count: surroundings.diskThreads)
        } catch {
            throw .system(error, during: "start a thread for", file: "directory")
        }
        buffers = BufferPool(bufferSize: options.chunk, capacity: max(2, options.window / options.chunk))
        let recovery = try Journal.recover(directory, boot: surroundings.boot)
        let secret = RandomBytes.make(12).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        var state = try Self.folded(recovery, surroundings, options, secret)
        let opened = try StagingSweep.run(directory, &state)
        let engine = WriteBackEngine(
            state,
            options,
            root: root,
            secret: secret,
            isSameBoot: recovery.isSameBoot
        )
        journal = try Journal(directory, after: recovery, checkpoint: state.checkpoint.map(\.encoded))
        // Not before: until now an older record could still have named them after a crash.
        for name in opened.garbage { try? directory.remove(name) }
        var budget = StagingBudget(limit: options.stagingLimit)
        budget.adopt(state.staged.keys.reduce(0) { $0 + state.stagedBytes($1) })
        var core = Core(engine: engine, budget: budget)
        core.files = opened.files
        core.damaged = opened.damaged
        core.named = Set(state.files.contents.values.compactMap(\.staging).filter { opened.synced.contains($0) })
        core.lastStaging = opened.last
        let now = time.now()
        for node in state.staged.keys where !state.names.isCurrent(node) { core.since[node] = now }
        self.core = Lock(core)
    }

    /// Begins to ask and to tell the bucket; once.
    package func begin() { update { _ in } }

    /// What the journal says, as a state.
    private static func folded(
        _ recovery: JournalRecovery,
        _ surroundings: Surroundings,
        _ options: WriteBackOptions,
        _ secret: String
    ) throws(JournalError) -> WriteBackState {
        var state = WriteBackState(
            parking: PenstockPaths(ObjectPrefix("")).parked(secret),
            layout: options.layout,
            root: NodeAttributes(mode: 0o755, user: 0, group: 0, time: surroundings.time.timeOfDay()),
            holdsBack: options.holdsBack,
            renamesFolders: options.renamesFolders,
            keepsSaves: options.tellsOfDirectories
        )
        for (index, bytes) in (recovery.checkpoint + recovery.records).enumerated() {
            guard let record = WriteBackRecord(decoding: bytes) else {
                throw .damaged(
                    file: "records",
                    offset: index,
                    reason: "a record is of no known kind, or of a newer Penstock"
                )
            }
            do throws(Errno) {
                try state.apply(record)
            } catch {
                throw .damaged(
                    file: "records",
                    offset: index,
                    reason: "a record does not fit those before it: \(error)"
                )
            }
        }
        let open = Set(state.files.contents.filter { $0.value.writers > 0 }.keys)
        if surroundings.isNewMount {
            do throws(Errno) { try state.apply(WriteBackRecord(.detached)) } catch {
                throw .damaged(file: "records", offset: 0, reason: "\(error)")
            }
        }
        state.settle(isSameBoot: recovery.isSameBoot, wasOpen: open)
        return state
    }

    // MARK: Changes

    /// Changes the engine, enqueues the records, and begins what is to be done.
    ///
    /// - Returns: what `body` returned, and the position behind all records so far; nil when there is none.
    /// - Throws: what `body` throws; `inputOutput`, without calling it, after `close`.
    @discardableResult
    func change<Value>(
        _ body: (inout Core) throws(Errno) -> Value
    ) throws(Errno) -> (value: Value, position: JournalPosition?) {
        var actions: [WriteBackAction] = []
        var calls: [@Sendable () -> Void] = []
        var admitted: [@Sendable (Errno?) -> Void] = []
        let result = core.withLock { core -> (Result<Value, Errno>, JournalPosition?) in
            // What is changed now would be in no journal: a writer must not be told that it is safe.
            if core.isClosed { return (.failure(.inputOutput), core.position) }
            let result: Result<Value, Errno>
            do throws(Errno) { result = .success(try body(&core)) } catch { result = .failure(error) }
            var isDone = false
            repeat {
                let more = core.engine.next()
                let records = core.engine.takeRecords()
                for record in records { enqueue(record, &core) }
                actions += more
                // At once: who sees under this lock that all is settled sees the room, too.
                admitted += room(core.engine.takeFreed(), &core)
                isDone = more.isEmpty && records.isEmpty
            } while !isDone
            age(&core)
            for (key, watcher) in core.watchers.sorted(by: { $0.key < $1.key }) {
                guard let call = watcher(&core) else { continue }
                core.watchers[key] = nil
                calls.append(call)
            }
            return (result, core.position)
        }
        let position = result.1
        for action in actions { start { [self] in await perform(action, position) } }
        for writer in admitted { writer(nil) }
        for call in calls { call() }
        if journal.wantsCheckpoint { compact() }
        return (try result.0.get(), result.1)
    }

    /// As `change`, for what cannot fail.
    func update(_ body: (inout Core) -> Void) {
        // Nothing of it throws: the error has no value.
        _ = try? change { (core) throws(Errno) in body(&core) }
    }

    private func enqueue(_ record: WriteBackRecord, _ core: inout Core) {
        do throws(JournalError) {
            core.position = try journal.enqueue(record.encoded)
        } catch {
            // Every record is bounded far below what a journal takes.
            preconditionFailure("a record that the journal does not take: \(error)")
        }
    }

    /// Since when each file waits.
    private func age(_ core: inout Core) {
        let now = time.now()
        for node in core.engine.takeLooked() {
            if core.engine.state.staged[node] == nil || core.engine.state.names.isCurrent(node) {
                core.since[node] = nil
            } else if core.since[node] == nil {
                core.since[node] = now
            }
        }
    }

    /// Has the watcher look now and, until it has seen what it waits for, after each change.
    ///
    /// - Returns: its key in `watchers`; nil when it has seen it already.
    @discardableResult
    func ask(_ watcher: @escaping Watcher) -> Int? {
        let (call, key) = core.withLock { core -> ((@Sendable () -> Void)?, Int?) in
            if let call = watcher(&core) { return (call, nil) }
            core.lastWatcher += 1
            core.watchers[core.lastWatcher] = watcher
            return (nil, core.lastWatcher)
        }
        call?()
        return key
    }

    /// Starts something that nobody waits for.
    func run(_ body: @escaping @Sendable () async -> Void) { start(body) }

    /// A new segment with what is still true.
    private func compact() {
        let checkpoint = core.withLock { core -> JournalCheckpoint? in
            // A change enqueues under the same lock: the state is the one behind all records.
            guard journal.wantsCheckpoint else { return nil }
            let records = core.engine.state.checkpoint.map(\.encoded)
            do throws(JournalError) { return try journal.enqueueCheckpoint(records) } catch { return nil }
        }
        guard let checkpoint else { return }
        pool.submit { [journal] in journal.commitCheckpoint(checkpoint) { _ in } }
    }

    /// Room for those who wait.
    func giveBack(_ bytes: Int) {
        let admitted = core.withLock { room(bytes, &$0) }
        for writer in admitted { writer(nil) }
    }

    /// - Returns: writers that are to be told that there is room for them.
    private func room(_ bytes: Int, _ core: inout Core) -> [@Sendable (Errno?) -> Void] {
        core.budget.release(bytes).compactMap { core.writers.removeValue(forKey: $0) }
    }

    /// Completes when everything up to the position is safe.
    func commit(
        _ position: JournalPosition?,
        _ level: JournalLevel,
        _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void
    ) {
        guard let position else { return completion(.success(())) }
        journal.commit(position, level) { result in completion(result.mapError(\.errno)) }
    }

    /// Commits on a thread for the disk.
    func commitSafely(_ position: JournalPosition?, _ level: JournalLevel = .node) async -> Result<Void, Errno> {
        await withCheckedContinuation { continuation in
            pool.submit { [self] in commit(position, level) { continuation.resume(returning: $0) } }
        }
    }

    /// The kernel has let go of the mount: no handle will be used again. It tells so of each file, but throws away what it has
    /// queued when it is unmounted.
    package func detach() { update { core in _ = try? core.engine.record(.detached) } }

    /// Nothing begins any more, what runs may end; for tests, and before the process ends.
    package func close() {
        let (waiting, calls) = core.withLock { core in
            core.isClosed = true
            defer { core.writers = [:] }
            var calls: [@Sendable () -> Void] = []
            for (key, watcher) in core.watchers.sorted(by: { $0.key < $1.key }) {
                guard let call = watcher(&core) else { continue }
                core.watchers[key] = nil
                calls.append(call)
            }
            return (core.writers.values.map { $0 }, calls)
        }
        for writer in waiting { writer(.noSpace) }
        for call in calls { call() }
    }

    var isClosed: Bool { core.withLock { $0.isClosed } }
}
