import AdminEndpoint
import Filesystem

// What is prefetched, and in which order.
//
//   job:   resolving ──▶ fetching ──▶ done │ failed │ stopped
//              ▲             │
//              └─ later ─────┘   failed, and it is to be tried until it succeeds
//   file:  queued ──▶ running ──▶ (ended)
//
// A file that several jobs want is fetched once. No I/O, no clock, no threads.

/// The prefetches of a mount: jobs, and the files that they want.
struct PrefetchQueue {
    enum Action: Hashable {
        /// Find out which files the job is about, then `resolved` or `refused`.
        case resolve(Int)
        /// Fetch the file, tell `progressed` meanwhile and `ended` at last.
        case begin(BytePath)
        /// End what was begun: `ended` is still to come.
        case cancel(BytePath)
        /// Say `retry` after so many seconds.
        case retryLater(Int, seconds: Int)
    }

    private struct Job {
        let order: PrefetchOrder
        /// It is tried until it succeeds.
        let retries: Bool
        var state = PrefetchDocument.State.running
        var isResolving = true
        var sizes: [BytePath: Int] = [:]
        /// Files that have not ended.
        var open: Set<BytePath> = []
        var failures: [PrefetchDocument.Failure] = []
        var failureCount = 0
        var tries = 0
    }

    private struct File {
        var jobs: Set<Int>
        var bytes = 0
        var isRunning = false
        var isCancelled = false
    }

    /// Files that are fetched at once.
    static let maximumRunning = 4
    /// Jobs that are over are remembered for so many others.
    static let maximumOver = 64
    static let maximumFailures = 100
    static let longestPause = 60

    private var jobs: [Int: Job] = [:]
    private var over: [Int] = []
    private var files: [BytePath: File] = [:]
    /// Files that wait, in order; those that nobody wants any more are here by name only.
    private var line: [BytePath] = []
    private var running = 0
    private var lastJob: Int

    /// - Parameter number: jobs have the numbers behind it.
    init(after number: Int = 0) { lastJob = number }

    /// A new job.
    mutating func submit(_ order: PrefetchOrder, retries: Bool = false) -> (id: Int, actions: [Action]) {
        lastJob += 1
        jobs[lastJob] = Job(order: order, retries: retries)
        return (lastJob, [.resolve(lastJob)])
    }

    func order(_ id: Int) -> PrefetchOrder? { jobs[id]?.order }

    /// The files of a job are known; none twice.
    ///
    /// - Parameter isFetching: false when there is nothing left to do with them.
    mutating func resolved(_ id: Int, _ found: [(path: BytePath, size: Int)], isFetching: Bool = true) -> [Action] {
        guard var job = jobs[id], job.state == .running, job.isResolving else { return [] }
        job.isResolving = false
        job.sizes = Dictionary(found.map { ($0.path, $0.size) }) { first, _ in first }
        if isFetching { job.open = Set(job.sizes.keys) }
        jobs[id] = job
        for (path, _) in found where isFetching {
            if files[path] == nil {
                files[path] = File(jobs: [id])
                line.append(path)
            } else {
                files[path]?.jobs.insert(id)
            }
        }
        return finish(id) + serve()
    }

    /// A job cannot begin: there is no such file, or no room.
    mutating func refused(_ id: Int, _ failure: PrefetchDocument.Failure) -> [Action] {
        guard jobs[id]?.state == .running, jobs[id]?.isResolving == true else { return [] }
        jobs[id]?.isResolving = false
        note(failure, of: id)
        return finish(id)
    }

    mutating func progressed(_ path: BytePath, bytes: Int) { files[path]?.bytes = bytes }

    /// A file that was begun is over; `failure`: why it is not there.
    mutating func ended(_ path: BytePath, _ failure: PrefetchDocument.Failure?) -> [Action] {
        guard let file = files.removeValue(forKey: path) else { return [] }
        running -= 1
        // Somebody asked for it after it was cancelled: from the beginning.
        if file.isCancelled, !file.jobs.isEmpty {
            files[path] = File(jobs: file.jobs)
            line.append(path)
            return serve()
        }
        var actions: [Action] = []
        for id in file.jobs.sorted() {
            jobs[id]?.open.remove(path)
            if let failure { note(failure, of: id) }
            actions += finish(id)
        }
        return actions + serve()
    }

    /// A job that failed begins anew.
    mutating func retry(_ id: Int) -> [Action] {
        guard jobs[id]?.state == .running, jobs[id]?.isResolving == false, jobs[id]?.open.isEmpty == true else {
            return []
        }
        jobs[id]?.isResolving = true
        jobs[id]?.failures = []
        jobs[id]?.failureCount = 0
        return [.resolve(id)]
    }

    /// Ends jobs that fetch a file for which `isMeant` holds, and what nobody else wants of theirs.
    mutating func stop(_ isMeant: (BytePath) -> Bool) -> [Action] {
        let meant = jobs.filter { $0.value.state == .running && $0.value.sizes.keys.contains(where: isMeant) }
        return meant.keys.sorted().flatMap { stop(job: $0) }
    }

    /// Ends everything.
    mutating func stopAll() -> [Action] {
        jobs.filter { $0.value.state == .running }.keys.sorted().flatMap { stop(job: $0) }
    }

    private mutating func stop(job id: Int) -> [Action] {
        guard let job = jobs[id] else { return [] }
        var actions: [Action] = []
        for path in job.open.sorted() {
            files[path]?.jobs.remove(id)
            guard let file = files[path], file.jobs.isEmpty else { continue }
            if !file.isRunning {
                files[path] = nil
            } else if !file.isCancelled {
                files[path]?.isCancelled = true
                actions.append(.cancel(path))
            }
        }
        close(id, .stopped)
        return actions
    }

    private mutating func note(_ failure: PrefetchDocument.Failure, of id: Int) {
        jobs[id]?.failureCount += 1
        if jobs[id]?.failures.count ?? 0 < Self.maximumFailures { jobs[id]?.failures.append(failure) }
    }

    /// Closes a job of which no file is left, or has it tried again.
    private mutating func finish(_ id: Int) -> [Action] {
        guard let job = jobs[id], job.state == .running, !job.isResolving, job.open.isEmpty else { return [] }
        if job.failureCount > 0, job.retries {
            jobs[id]?.tries += 1
            return [.retryLater(id, seconds: min(Self.longestPause, 1 << min(job.tries, 6)))]
        }
        close(id, job.failureCount == 0 ? .done : .failed)
        return []
    }

    private mutating func close(_ id: Int, _ state: PrefetchDocument.State) {
        jobs[id]?.state = state
        over.append(id)
        if over.count > Self.maximumOver { jobs[over.removeFirst()] = nil }
    }

    private mutating func serve() -> [Action] {
        var actions: [Action] = []
        var taken = 0
        while running < Self.maximumRunning, taken < line.count {
            let path = line[taken]
            taken += 1
            guard let file = files[path], !file.isRunning else { continue }
            files[path]?.isRunning = true
            running += 1
            actions.append(.begin(path))
        }
        line.removeFirst(taken)
        return actions
    }

    // MARK: What is shown

    /// How far a job is; nil when it is not known (any more).
    func document(_ id: Int) -> PrefetchDocument? {
        guard let job = jobs[id] else { return nil }
        let failed = Set(job.failures.map { BytePath($0.path) })
        let whole = job.sizes.filter { !job.open.contains($0.key) && !failed.contains($0.key) }
        let isOver = job.state == .stopped
        return PrefetchDocument(
            id: id,
            state: job.state,
            files: job.sizes.count,
            bytes: job.sizes.values.reduce(0, +),
            doneFiles: isOver ? 0 : whole.count,
            doneBytes: isOver ? 0 : whole.values.reduce(0, +) + job.open.reduce(0) { $0 + (files[$1]?.bytes ?? 0) },
            failures: job.failures
        )
    }

    /// All that are known, oldest first.
    var documents: [PrefetchDocument] { jobs.keys.sorted().compactMap(document) }

    /// Nothing is under way.
    var isIdle: Bool { running == 0 && files.isEmpty }
}
