import AdminEndpoint
import FUSEMount
import LinuxPlatform
import ObjectStorage
import Telemetry
import WriteBack

/// What the socket of a writable mount speaks for: its status and metrics.
final class WritableAdministration: AdminSubject {
    /// With more files a document would be of no use.
    private static let maximumFiles = 100

    let source: String
    private let options: WritableMountOptions
    private let mount: FUSEMount
    private let tree: WriteBack
    private let registry: MetricRegistry
    private let server: AdminServer?
    private let time = SystemTime()
    private let started: MonotonicInstant
    private let state = Lock((rates: RateWindow(), isEnding: false))

    /// Serves from now on.
    ///
    /// - Parameter server: that listens already; nil: nobody can ask.
    init(
        _ options: WritableMountOptions,
        _ mount: FUSEMount,
        _ tree: WriteBack,
        _ registry: MetricRegistry,
        server: AdminServer?,
        log: Log
    ) {
        self.options = options
        source = options.source
        self.mount = mount
        self.tree = tree
        self.registry = registry
        self.server = server
        started = time.now()
        do throws(Errno) {
            let answer: AdminServer.Handler = { [weak self] request in
                guard let self else { return .now(AdminReply(503, "the mount is ending")) }
                return AdminRoutes.answer(request, self)
            }
            try server?.serve(tick: { [weak self] in self?.tick() }, answer)
        } catch {
            log.error("nobody answers on the daemon's socket", ["error": LogValue(error)])
        }
    }

    /// Nobody finds it ready; status is still answered, for what drains.
    func beginStopping() { state.withLock { $0.isEnding = true } }

    /// Takes the socket away.
    func stop() { server?.stop() }

    private func tick() {
        let traffic = Traffic(registry.snapshot())
        state.withLock { $0.rates.note(traffic, now: time.now()) }
    }

    // MARK: AdminSubject

    func metrics() -> [MetricSample] { registry.snapshot() }

    func readiness() -> Readiness { state.withLock { $0.isEnding } ? .waiting("the mount is ending") : .ready }

    func prefetch(_ order: PrefetchOrder) -> PrefetchDocument? { nil }

    func prefetch(id: Int) -> PrefetchDocument? { nil }

    func status(_ completion: @escaping @Sendable (StatusDocument) -> Void) {
        let now = time.now()
        let traffic = Traffic(registry.snapshot())
        let (rates, isEnding) = state.withLock { ($0.rates.rates(traffic, now: now), $0.isEnding) }
        var document = StatusDocument(
            source: options.source,
            mountPoint: mount.mountPoint.path,
            snapshot: nil,
            process: Host.processID,
            uptimeSeconds: Int(started.duration(to: now).inSeconds),
            ready: !isEnding,
            waitingFor: isEnding ? "the mount is ending" : nil,
            memory: .init(
                budgetBytes: options.writing.window,
                usedBytes: 0,
                residentBytes: ProcessStatus.current()?.residentBytes ?? 0
            ),
            cache: nil,
            traffic: traffic,
            rates: rates,
            prefetches: [],
            files: [],
            filesLeftOut: 0
        )
        document.writeBack = StatusDocument.WriteBack(tree.status, directory: options.staging, limit: Self.maximumFiles)
        completion(document)
    }
}

extension StatusDocument.WriteBack {
    fileprivate init(_ status: WriteBackStatus, directory: String, limit: Int) {
        self.init(
            settled: status.isSettled,
            directory: directory,
            stagedBytes: status.staged,
            limitBytes: status.stagingLimit,
            unacknowledgedBytes: status.unacknowledged,
            waitingWriters: status.writers,
            waiting: status.waiting.prefix(limit).map { file in
                Waiting(
                    path: file.path,
                    size: file.size,
                    ageSeconds: Int(file.age.inSeconds),
                    storedBytes: file.stored,
                    open: file.isOpen,
                    failure: file.isTorn ? "it was not safe when the machine died" : file.failure?.message
                )
            },
            waitingFiles: status.waiting.count,
            conflicts: Array(status.conflicts.prefix(limit)),
            damagedFiles: status.damaged,
            lastError: status.lastError?.message
        )
    }
}
