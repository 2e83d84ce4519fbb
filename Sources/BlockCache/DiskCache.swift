import Glibc
package import LinuxPlatform
package import Telemetry

/// The disk tier: verified blocks of contents in files of a directory that outlives the process and may be shared.
///
/// What stands there is a claim, never a fact: each byte is compared with its content's checksums before it is used. So
/// whatever a crash, a full disk or another process left is harmless, and nothing is cleared at start or end.
/// Operations wait for the disk on threads of their own; when the disk fails, it is left alone for a while and readers
/// are served by the network.
package final class DiskCache: Sendable {
    package struct Options: Sendable {
        /// Made when it is missing; then nobody else may look into it.
        package var directory: String
        /// What its files may take together, in bytes.
        package var limit: Int
        /// What stays free of the filesystem, in bytes; nil: 5 % of it, at most 1 GiB.
        package var floor: Int?
        /// How long to wait for a block that another process fetches.
        package var claimPatience: Duration
        /// How long the disk may take for one read, of 8 MiB at most, before readers go on without it.
        package var readPatience: Duration
        /// How old the proof of a whole file may get before it is read back again, while it is used.
        package var scrubAge: Duration

        package init(
            directory: String,
            limit: Int,
            floor: Int? = nil,
            claimPatience: Duration = .seconds(5),
            readPatience: Duration = .seconds(10),
            scrubAge: Duration = .seconds(4 * 3600)
        ) {
            self.directory = directory
            self.limit = limit
            self.floor = floor
            self.claimPatience = claimPatience
            self.readPatience = readPatience
            self.scrubAge = scrubAge
        }
    }

    private struct ProvenFile {
        let inode: UInt64
        let modified: UnixTime
        let since: MonotonicInstant
    }

    private struct WeakContent {
        weak var content: DiskContent?
    }

    private struct State {
        var contents: [String: WeakContent] = [:]
        var health = DiskHealth()
        var budget: DiskBudget
        /// There was no room, and nothing that could go: until then nobody looks again.
        var fullUntil: MonotonicInstant?
        /// Files that this process has read back, as they were then.
        var proven: [String: ProvenFile] = [:]
        /// Questions of `survey` that the disk has not answered.
        var surveys = 0
        /// Files that this process does not evict now, and how often each is held.
        var held: [String: Int] = [:]
    }

    /// The subdirectory says the format, so that another version of it begins beside this one.
    private static let subdirectory = "blocks-1"
    private static let maximumProven = 100_000

    let options: Options
    let directory: FileDescriptor
    let time: any TimeSource
    let log: Log
    package let metrics: CacheMetrics
    let readers: WorkerPool
    let writers: WorkerPool
    let provers: WorkerPool
    /// For those who only want to show something.
    let lookers: WorkerPool
    let waiters: ClaimWaiters
    private let state: Lock<State>

    /// - Throws: the `errno` of making or opening the directory, or of starting threads.
    package init(
        _ options: Options,
        metrics: CacheMetrics = CacheMetrics(MetricRegistry()),
        time: any TimeSource = SystemTime(),
        log: Log = .disabled
    ) throws(Errno) {
        let path = "\(options.directory)/\(Self.subdirectory)"
        try DirectoryTree.make(path, mode: 0o700)
        directory = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        if try directory.status().mode & 0o022 != 0 { log.warn("others may write the cache", ["path": LogValue(path)]) }
        let space = try directory.space()
        let floor = options.floor ?? min(space.total / 20, 1 << 30)
        state = Lock(State(budget: DiskBudget(limit: options.limit, floor: floor)))
        self.options = options
        self.metrics = metrics
        self.time = time
        self.log = log
        readers = try WorkerPool(name: "disk-read", count: 4)
        writers = try WorkerPool(name: "disk-write", count: 1)
        provers = try WorkerPool(name: "disk-prove", count: 1)
        lookers = try WorkerPool(name: "disk-look", count: 1)
        waiters = try ClaimWaiters()
    }

    /// The content of this identity: one, whoever asks.
    func content(_ identity: DiskIdentity, label: String, checks: ContentChecks) -> DiskContent {
        state.withLock { state in
            if let known = state.contents[identity.name]?.content { return known }
            let content = DiskContent(identity, label: label, checks: checks, disk: self)
            if state.contents.count % 256 == 255 { state.contents = state.contents.filter { $0.value.content != nil } }
            state.contents[identity.name] = WeakContent(content: content)
            return content
        }
    }

    /// Waits until what was handed to the disk's threads before is done.
    package func settle() async {
        let contents = state.withLock { $0.contents.values.compactMap(\.content) }
        for content in contents {
            await withCheckedContinuation { opened in content.whenOpen { opened.resume() } }
        }
        await writers.run {}
        repeat { await provers.run {} } while contents.contains(where: \.isProving)
        await writers.run {}
    }

    // MARK: Health

    var mayRead: Bool {
        let now = time.now()
        return state.withLock { $0.health.mayRead(now) }
    }

    var mayWrite: Bool {
        let now = time.now()
        return state.withLock { $0.health.mayWrite(now) }
    }

    /// Whether blocks that come now will probably be kept: nobody should wait for a claim of one that will not.
    var mayKeep: Bool {
        let now = time.now()
        return state.withLock { state in
            state.health.mayWrite(now) && state.fullUntil.map { now < $0 } != true
        }
    }

    /// The disk failed: it is left alone for a while.
    func failed(_ error: Errno, _ what: StaticString) {
        let now = time.now()
        metrics.failed()
        guard let pause = state.withLock({ $0.health.failed(error, now) }) else { return }
        log.warn(
            "the cache's disk failed: readers go on without it, it is tried again later",
            ["while": "\(what)", "error": LogValue(error), "seconds": .integer(Int(pause.inSeconds))]
        )
    }

    func wrote(_ count: Int) {
        metrics.stored(bytes: count)
        state.withLock { $0.health.wrote() }
    }

    // MARK: Proofs

    /// When this process has read back the file as it is now; nil when it has not, or too long ago.
    func provenSince(_ name: String, _ status: FileStatus) -> MonotonicInstant? {
        let now = time.now()
        return state.withLock { state in
            guard let proven = state.proven[name], proven.inode == status.inode, proven.modified == status.modified,
                proven.since.duration(to: now) <= options.scrubAge
            else { return nil }
            return proven.since
        }
    }

    func remember(_ name: String, _ status: FileStatus) {
        let now = time.now()
        state.withLock { state in
            if state.proven.count >= Self.maximumProven { state.proven = [:] }
            state.proven[name] = ProvenFile(inode: status.inode, modified: status.modified, since: now)
        }
    }

    func forgetProof(_ name: String) { state.withLock { $0.proven[name] = nil } }

    /// Opens a proven file for the kernel, and says to all who evict that it is in use.
    func openBacking(_ files: DiskFiles) -> BackingFile? {
        let name = DiskFiles.dataName(files.identity)
        do throws(Errno) {
            let file = try FileDescriptor(path: name, flags: O_RDONLY | O_NOFOLLOW, relativeTo: directory.rawValue)
            // Whoever evicts holds the lock exclusively while it removes the name: after ours, a link means that it stays.
            guard try file.tryLock(isExclusive: false) else { return nil }
            let status = try file.status()
            guard status.inode == files.inode, status.links > 0, status.size == files.identity.size else { return nil }
            return BackingFile(file, size: status.size)
        } catch {
            return nil
        }
    }

    // MARK: Room

    /// Makes room for bytes that are about to be written. On the writing thread.
    ///
    /// - Parameter name: of the file that wants it.
    func reserve(_ bytes: Int, for name: String) -> Bool {
        if grants(bytes) { return true }
        let now = time.now()
        if state.withLock({ state in state.fullUntil.map { now < $0 } ?? false }) { return false }
        do throws(Errno) {
            try look(adding: bytes, for: name)
        } catch {
            failed(error, "looking at the cache's directory")
            return false
        }
        if grants(bytes) { return true }
        state.withLock { $0.fullUntil = now.advanced(by: .seconds(2)) }
        return false
    }

    private func grants(_ bytes: Int) -> Bool {
        guard let available = try? directory.space().available else { return false }
        return state.withLock { state in
            guard state.budget.reserve(bytes, available: available) == .granted else { return false }
            metrics.uses(bytes: state.budget.used)
            return true
        }
    }

    private func look(adding bytes: Int, for name: String) throws(Errno) {
        let files = try DiskDirectory.files(directory)
        let contents = state.withLock { $0.contents.values.compactMap(\.content) }
        let deleted = contents.reduce(0) { $0 + $1.deletedBytes }
        let excess = try excess(adding: bytes) { $0.scanned(used: files.reduce(deleted) { $0 + $1.allocated }) }
        guard excess > 0 else { return }
        let now = time.timeOfDay()
        let candidates = files.map { DiskDirectory.candidate($0, directory, now: now) }
        let held = state.withLock { $0.held }
        for candidate in EvictionPolicy.order(candidates, requester: name, limit: options.limit)
        where held[candidate.name] == nil {
            guard try DiskDirectory.remove(candidate.name, directory) else { continue }
            state.withLock { $0.contents[candidate.name]?.content }?.dropFiles()
            forgetProof(candidate.name)
            metrics.evicted()
            log.debug("evicted", ["file": LogValue(candidate.name), "bytes": .integer(candidate.bytes)])
            if try self.excess(adding: bytes, { $0.freed(candidate.bytes) }) <= 0 { return }
        }
    }

    private func excess(adding bytes: Int, _ change: (inout DiskBudget) -> Void) throws(Errno) -> Int {
        let available = try directory.space().available
        return state.withLock { state in
            change(&state.budget)
            metrics.uses(bytes: state.budget.used)
            return state.budget.excess(adding: bytes, available: available)
        }
    }

    /// False when too many wait for the disk already.
    func beginSurvey() -> Bool {
        state.withLock { state in
            guard state.surveys < Self.maximumSurveys else { return false }
            state.surveys += 1
            return true
        }
    }

    func endSurvey() { state.withLock { $0.surveys -= 1 } }

    // MARK: Residency

    /// Makes sure that this process does not evict the file until `letGo`, as often as it was held.
    func hold(_ name: String) { state.withLock { $0.held[name, default: 0] += 1 } }

    func letGo(_ name: String) {
        state.withLock { state in
            let count = (state.held[name] ?? 1) - 1
            state.held[name] = count > 0 ? count : nil
        }
    }

    /// Whether there was no room a moment ago.
    var isFull: Bool {
        let now = time.now()
        return state.withLock { state in state.fullUntil.map { now < $0 } ?? false }
    }

    /// The content of this identity, if somebody in this process has it.
    func known(_ identity: DiskIdentity) -> DiskContent? {
        state.withLock { $0.contents[identity.name]?.content }
    }

    /// What the files of the directory take now, as the last look and this process's writes have it.
    package var usedBytes: Int { state.withLock { $0.budget.used } }

    /// What the files of the directory take, looked up now: it may wait for the disk.
    package func measuredBytes() throws(Errno) -> Int {
        try DiskDirectory.files(directory).reduce(0) { $0 + $1.allocated }
    }

    /// What may stay in the cache at once, in bytes: its size less what is kept free for others to write.
    package var capacity: Int { options.limit - state.withLock { $0.budget.stride } }
}
