import AdminEndpoint
import BlockCache
import FUSEMount
import Filesystem
import Glibc
import LinuxPlatform
import Manifests
import Telemetry

/// What the socket of a mount speaks for: its status, its metrics, and what is prefetched.
final class MountAdministration: AdminSubject {
    /// What a mount is made of, as far as it is shown.
    struct Parts: Sendable {
        let options: MountOptions
        let mount: FUSEMount
        let filesystem: Filesystem
        let contents: StoredContents
        let cache: BlockCache
        let disk: DiskCache?
        let snapshot: SnapshotManifest?
        let registry: MetricRegistry
    }

    private struct State {
        var rates = RateWindow()
        /// The prefetch that the mount was told to begin with.
        var ownPrefetch: Int?
        var isEnding = false
    }

    /// With more files a document would be of no use to people, and slow to make.
    private static let maximumFiles = 2000

    private let parts: Parts
    private let prefetcher: Prefetcher
    private let server: AdminServer?
    private let time = SystemTime()
    private let started: MonotonicInstant
    private let state = Lock(State())

    /// Serves from now on.
    ///
    /// - Parameter server: that listens already; nil: nobody can ask.
    init(_ parts: Parts, server: AdminServer?, log: Log) {
        self.parts = parts
        self.server = server
        started = time.now()
        prefetcher = Prefetcher(parts.filesystem, parts.cache, parts.disk, log: log)
        if !parts.options.prefetch.isEmpty {
            let order = PrefetchOrder(parts.options.pinsPrefetched ? .pin : .fetch, globs: parts.options.prefetch)
            let own = prefetcher.submit(order, retries: true).id
            state.withLock { $0.ownPrefetch = own }
        }
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

    /// Nothing new is fetched, and nobody finds it ready.
    func beginStopping() {
        state.withLock { $0.isEnding = true }
        prefetcher.stop()
    }

    /// Takes the socket away.
    func stop() { server?.stop() }

    private func tick() {
        let traffic = Traffic(parts.registry.snapshot())
        state.withLock { $0.rates.note(traffic, now: time.now()) }
    }

    // MARK: AdminSubject

    func metrics() -> [MetricSample] { parts.registry.snapshot() }

    func readiness() -> Readiness {
        let (own, isEnding) = state.withLock { ($0.ownPrefetch, $0.isEnding) }
        if isEnding { return .waiting("the mount is ending") }
        guard let own, let prefetch = prefetcher.document(own), prefetch.state != .done else { return .ready }
        if let failure = prefetch.failures.first {
            return .waiting("prefetching \(failure.path) failed and is tried again: \(failure.reason)")
        }
        return .waiting(
            "prefetching: \(prefetch.doneFiles) of \(prefetch.files) files, \(HumanReadable.bytes(prefetch.doneBytes)) of "
                + HumanReadable.bytes(prefetch.bytes)
        )
    }

    func prefetch(_ order: PrefetchOrder) -> PrefetchDocument? { prefetcher.submit(order) }

    func prefetch(id: Int) -> PrefetchDocument? { prefetcher.document(id) }

    func status(_ completion: @escaping @Sendable (StatusDocument) -> Void) {
        let (known, leftOut) = parts.filesystem.knownFiles(limit: Self.maximumFiles)
        guard let disk = parts.disk else { return completion(document(known, leftOut, nil)) }
        disk.survey(known.compactMap { parts.contents.identity(of: $0.facts) }) { [self] survey in
            completion(document(known, leftOut, survey))
        }
    }

    private func document(_ known: [KnownFile], _ leftOut: Int, _ survey: DiskSurvey?) -> StatusDocument {
        let now = time.now()
        let traffic = Traffic(parts.registry.snapshot())
        var waitingFor: String?
        if case .waiting(let reason) = readiness() { waitingFor = reason }
        return StatusDocument(
            source: parts.options.source,
            mountPoint: parts.mount.mountPoint.path,
            snapshot: parts.snapshot.map {
                .init(repository: $0.source.repository, revision: $0.source.revision, commit: $0.source.commit)
            },
            process: Host.processID,
            uptimeSeconds: Int(started.duration(to: now).inSeconds),
            ready: waitingFor == nil,
            waitingFor: waitingFor,
            memory: .init(
                budgetBytes: parts.cache.budget,
                usedBytes: parts.cache.usedBytes,
                residentBytes: ProcessStatus.current()?.residentBytes ?? 0
            ),
            cache: survey.map(cache),
            traffic: traffic,
            rates: state.withLock { $0.rates.rates(traffic, now: now) },
            prefetches: prefetcher.documents,
            files: files(known, survey),
            filesLeftOut: leftOut
        )
    }

    private func cache(_ survey: DiskSurvey) -> StatusDocument.Cache {
        .init(
            directory: parts.options.disk?.directory ?? "",
            limitBytes: parts.options.disk?.limit ?? 0,
            usedBytes: survey.usedBytes,
            pinnedBytes: survey.pinnedBytes,
            responds: survey.responds
        )
    }

    private func files(_ known: [KnownFile], _ survey: DiskSurvey?) -> [StatusDocument.File] {
        let inMemory = parts.cache.residentBytes
        return known.map { file in
            let onDisk = survey.flatMap { survey in parts.contents.identity(of: file.facts).map(survey.residency) }
            return StatusDocument.File(
                path: file.path,
                size: file.facts.size,
                memoryBytes: min(file.facts.size, file.content.flatMap { inMemory[$0.id] } ?? 0),
                diskBytes: onDisk?.bytes ?? 0,
                verified: onDisk?.isProven ?? false,
                pinned: onDisk?.isPinned ?? false,
                open: file.isOpen,
                passthrough: file.node.map(parts.mount.isReadByKernel) ?? false
            )
        }
    }
}
