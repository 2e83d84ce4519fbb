import AdminEndpoint
import BlockCache
import Filesystem
import LinuxPlatform
import ObjectStorage
import Telemetry

/// Brings files of a mount to where they stay, as somebody asked for: carries out what `PrefetchQueue` decides.
final class Prefetcher: Sendable {
    private struct State {
        /// Whoever asks the next process of this mount for a job of this one must not be told of another.
        var queue = PrefetchQueue(after: Int.random(in: 1...1 << 40))
        var tasks: [BytePath: Task<Void, Never>] = [:]
        /// What was prefetched stays open: in memory it would go with its last reader, and what proves a file of the disk
        /// would have to be asked of the bucket again by whoever opens it.
        var resident: [BytePath: HeldFile] = [:]
        /// What the checksums of these take, in bytes.
        var tableBytes = 0
        var isStopped = false
    }

    /// Files that one order may name.
    private static let maximumFiles = 100_000
    /// Files of the disk that stay open, and what their checksums may take: those of 256 GiB. Beyond that each open asks the
    /// bucket for a table.
    private static let maximumResident = 1000
    private static let maximumTableBytes = 16 << 20

    private let filesystem: Filesystem
    private let cache: BlockCache
    private let disk: DiskCache?
    private let time: any TimeSource
    private let log: Log
    private let state = Lock(State())

    init(
        _ filesystem: Filesystem,
        _ cache: BlockCache,
        _ disk: DiskCache?,
        time: any TimeSource = SystemTime(),
        log: Log
    ) {
        self.filesystem = filesystem
        self.cache = cache
        self.disk = disk
        self.time = time
        self.log = log
    }

    /// Begins what was ordered.
    ///
    /// - Parameter retries: what fails is tried until it succeeds.
    func submit(_ order: PrefetchOrder, retries: Bool = false) -> PrefetchDocument {
        let (document, actions) = state.withLock { state -> (PrefetchDocument?, [PrefetchQueue.Action]) in
            let (id, actions) = state.queue.submit(order, retries: retries)
            return (state.queue.document(id), actions)
        }
        perform(actions)
        return document
            ?? PrefetchDocument(id: 0, state: .failed, files: 0, bytes: 0, doneFiles: 0, doneBytes: 0, failures: [])
    }

    func document(_ id: Int) -> PrefetchDocument? { state.withLock { $0.queue.document(id) } }
    var documents: [PrefetchDocument] { state.withLock { $0.queue.documents } }

    /// Ends all of it; what is under way ends soon after.
    func stop() {
        let (actions, held) = state.withLock { state in
            state.isStopped = true
            defer { state.resident = [:] }
            return (state.queue.stopAll(), Array(state.resident.values))
        }
        perform(actions)
        held.forEach(filesystem.letGo)
    }

    private func perform(_ actions: [PrefetchQueue.Action]) {
        for action in actions {
            switch action {
            case .resolve(let id): Task { await self.resolve(id) }
            case .begin(let path): begin(path)
            case .cancel(let path): state.withLock { $0.tasks[path] }?.cancel()
            case .retryLater(let id, let seconds):
                Task {
                    try? await self.time.sleep(for: .seconds(seconds))
                    self.perform(self.state.withLock { $0.isStopped ? [] : $0.queue.retry(id) })
                }
            }
        }
    }

    // MARK: Orders

    private func resolve(_ id: Int) async {
        guard let order = state.withLock({ $0.queue.order(id) }) else { return }
        if order.action == .stop {
            let globs = order.globs.compactMap { Glob($0) }
            let stopped = state.withLock { state in
                state.queue.stop { path in
                    order.paths.contains { path.isAt(orBelow: BytePath($0)) }
                        || globs.contains { $0.matches(path.value) }
                }
            }
            return perform(stopped + state.withLock { $0.queue.resolved(id, [], isFetching: false) })
        }
        do throws(PrefetchRefusal) {
            let files = try await files(order)
            switch order.action {
            case .fetch, .stop: try checkRoom(files)
            case .pin:
                try checkRoom(files)
                try await pin(files)
            case .unpin: try await unpin(files)
            }
            perform(state.withLock { $0.queue.resolved(id, files, isFetching: order.action != .unpin) })
        } catch {
            log.error("prefetch refused", ["path": LogValue(error.path), "reason": LogValue(error.reason)])
            perform(state.withLock { $0.queue.refused(id, error.failure) })
        }
    }

    private func files(_ order: PrefetchOrder) async throws(PrefetchRefusal) -> [(path: BytePath, size: Int)] {
        var found: [BytePath: Int] = [:]
        for path in order.paths {
            for file in try await files(below: path) { found[file.path] = file.size }
        }
        if !order.globs.isEmpty {
            let all = try await files(below: "")
            for pattern in order.globs {
                guard let glob = Glob(pattern) else {
                    throw PrefetchRefusal(pattern, "the pattern is longer than \(Glob.maximumLength) bytes", .usage)
                }
                let matching = all.filter { glob.matches($0.path.value) }
                if matching.isEmpty { throw PrefetchRefusal(pattern, "no file matches", .notFound) }
                for file in matching { found[file.path] = file.size }
            }
        }
        return found.map { (path: $0.key, size: $0.value) }.sorted { $0.path < $1.path }
    }

    private func files(below path: String) async throws(PrefetchRefusal) -> [(path: BytePath, size: Int)] {
        do throws(FilesystemError) {
            return try await filesystem.files(below: path, limit: Self.maximumFiles).map {
                (BytePath($0.path), $0.size)
            }
        } catch {
            if error == .invalidArgument {
                throw PrefetchRefusal(path, "more than \(Self.maximumFiles) files; name fewer", .usage)
            }
            throw PrefetchRefusal(path, error)
        }
    }

    /// Whether everything can be there at once.
    private func checkRoom(_ files: [(path: BytePath, size: Int)]) throws(PrefetchRefusal) {
        let wanted = files.reduce(0) { $0 + $1.size }
        guard let disk else {
            let held = state.withLock { state in
                state.resident.filter { held in !files.contains { $0.path == held.key } }
                    .reduce(0) { $0 + $1.value.content.size }
            }
            let limit = Self.memoryShare(cache.budget)
            if wanted + held <= limit { return }
            let beside = held > 0 ? " beside \(HumanReadable.bytes(held)) that are there" : ""
            throw PrefetchRefusal(
                files.first?.path.value ?? "",
                "\(HumanReadable.bytes(wanted)) do not fit into \(HumanReadable.bytes(limit))\(beside), which is three "
                    + "quarters of --memory; mount with --cache-dir, or with more memory",
                .usage
            )
        }
        if wanted <= disk.capacity { return }
        throw PrefetchRefusal(
            files.first?.path.value ?? "",
            "\(HumanReadable.bytes(wanted)) do not fit into the disk cache, which keeps at most "
                + "\(HumanReadable.bytes(disk.capacity)) at once; mount with a larger --cache-size",
            .usage
        )
    }

    /// The rest is for readers of other files.
    static func memoryShare(_ budget: Int) -> Int { budget / 4 * 3 }

    // MARK: Pins

    private func pin(_ files: [(path: BytePath, size: Int)]) async throws(PrefetchRefusal) {
        guard let disk else {
            throw PrefetchRefusal(files.first?.path.value ?? "", "only a mount with --cache-dir can pin files", .usage)
        }
        let held = try await hold(files)
        defer { held.forEach(filesystem.letGo) }
        let wanted = files.reduce(0) { $0 + $1.size }
        let refusal: PinRoom?
        do throws(ResidencyFailure) {
            refusal = try await disk.pin(held.map(\.content))
        } catch {
            throw PrefetchRefusal(files.first?.path.value ?? "", error)
        }
        guard let refusal else { return }
        throw PrefetchRefusal(
            files.first?.path.value ?? "",
            "\(HumanReadable.bytes(wanted)) cannot be pinned: \(HumanReadable.bytes(refusal.pinned)) of "
                + "\(HumanReadable.bytes(refusal.limit)), which is 90 % of --cache-size, are pinned already; unpin others, "
                + "or mount with a larger --cache-size",
            .usage
        )
    }

    private func unpin(_ files: [(path: BytePath, size: Int)]) async throws(PrefetchRefusal) {
        guard let disk else { return }
        for file in files {
            let held = try await hold([file])
            defer { held.forEach(filesystem.letGo) }
            for one in held {
                do throws(ResidencyFailure) { try await disk.unpin(one.content) } catch {
                    throw PrefetchRefusal(file.path.value, error)
                }
            }
        }
    }

    private func hold(_ files: [(path: BytePath, size: Int)]) async throws(PrefetchRefusal) -> [HeldFile] {
        var held: [HeldFile] = []
        for file in files {
            do throws(FilesystemError) { held.append(try await filesystem.hold(file.path.value)) } catch {
                held.forEach(filesystem.letGo)
                throw PrefetchRefusal(file.path.value, error)
            }
        }
        return held
    }

    // MARK: Files

    private func begin(_ path: BytePath) {
        state.withLock { state in
            state.tasks[path] = Task {
                let failure = await self.fetch(path)
                if let failure {
                    self.log.error("cannot prefetch", ["path": LogValue(path), "reason": LogValue(failure.reason)])
                }
                let actions = self.state.withLock { state in
                    state.tasks[path] = nil
                    return state.queue.ended(path, failure?.failure)
                }
                self.perform(actions)
            }
        }
    }

    private func fetch(_ path: BytePath) async -> PrefetchRefusal? {
        let file: HeldFile
        do throws(FilesystemError) { file = try await filesystem.hold(path.value) } catch {
            return PrefetchRefusal(path.value, error)
        }
        do throws(ResidencyFailure) {
            try await cache.makeResident(file.content, usesDisk: disk != nil) { [weak self] bytes in
                self?.state.withLock { $0.queue.progressed(path, bytes: bytes) }
            }
        } catch {
            filesystem.letGo(file)
            return PrefetchRefusal(path.value, error)
        }
        let surplus = state.withLock { state -> HeldFile? in
            if let known = state.resident.removeValue(forKey: path) {
                state.tableBytes -= Self.tableBytes(known)
                state.resident[path] = file
                state.tableBytes += Self.tableBytes(file)
                return known
            }
            let isMuch =
                state.resident.count >= Self.maximumResident
                || state.tableBytes + Self.tableBytes(file) > Self.maximumTableBytes
            // What is in memory is bounded by that.
            if state.isStopped || disk != nil && isMuch { return file }
            state.resident[path] = file
            state.tableBytes += Self.tableBytes(file)
            return nil
        }
        if let surplus { filesystem.letGo(surplus) }
        return nil
    }

    private static func tableBytes(_ file: HeldFile) -> Int { 4 * (file.content.size / BlockGeometry.granuleSize + 1) }
}

/// Why a file is not prefetched.
struct PrefetchRefusal: Error {
    /// The statuses that commands end with; see docs/OPERATIONS.md.
    enum Status: Int {
        case usage = 2
        case integrity = 3
        case notFound = 4
        case retryable = 6
        case interrupted = 130
    }

    let path: String
    let reason: String
    let status: Status

    init(_ path: String, _ reason: String, _ status: Status) {
        self.path = path
        self.reason = reason
        self.status = status
    }

    init(_ path: String, _ error: FilesystemError) {
        switch error {
        case .noEntry, .notDirectory, .nameTooLong: self.init(path, "there is no such file", .notFound)
        case .stale: self.init(path, "its generation is gone", .notFound)
        case .interrupted: self.init(path, "stopped", .interrupted)
        case .timedOut: self.init(path, "the store did not answer in time", .retryable)
        default: self.init(path, "it cannot be read; the daemon's log says why", .retryable)
        }
    }

    init(_ path: String, _ failure: ResidencyFailure) {
        switch failure {
        case .read(.stale): self.init(path, "its generation is gone", .notFound)
        case .read(.corrupt): self.init(path, "its bytes are not what they should be", .integrity)
        case .read(.unavailable): self.init(path, "the store does not give it", .retryable)
        case .read(.timedOut): self.init(path, "the store did not answer in time", .retryable)
        case .read(.cancelled), .cancelled: self.init(path, "stopped", .interrupted)
        case .unprovable:
            self.init(
                path,
                "it has no CRC table and is too large to be proven as one: the cache does not keep it",
                .usage
            )
        case .noRoom: self.init(path, "there is no room for it in the cache", .retryable)
        case .diskFailed: self.init(path, "the cache's disk failed; the daemon's log says how", .retryable)
        }
    }

    var failure: PrefetchDocument.Failure {
        PrefetchDocument.Failure(path: path, reason: reason, status: status.rawValue)
    }
}
