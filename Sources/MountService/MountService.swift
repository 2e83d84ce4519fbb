package import AdminEndpoint
package import BlockCache
package import FUSEMount
import Filesystem
import Glibc
package import LinuxPlatform
package import Manifests
package import ObjectStorage
package import Publication
package import Telemetry
import TransferEngine
package import WriteBack

/// What to mount, where, and with what means.
package struct MountOptions: Sendable {
    /// For people and for `user.penstock.source`: the URL that was asked for, without secrets.
    package var source: String
    package var prefix: ObjectPrefix
    /// An existing directory.
    package var mountPoint: String
    /// Bytes of memory for blocks.
    package var memory: Int
    /// How long a listing is believed where there is no manifest.
    package var listingTimeToLive: Duration
    /// After this a request to the store has failed.
    package var fetchTimeout: Duration
    package var kernel: FUSEMount.Options
    /// Where blocks are kept on a disk; nil: nowhere.
    package var disk: DiskCache.Options?
    /// Whether requests that are much slower than usual are given up for a second one: where a network lies between.
    package var isHedged: Bool
    /// Where the daemon listens for `penstock status` and its like; nil: nowhere.
    package var sockets: SocketDirectory?
    /// It is a fault when it cannot listen there; if not, it is worth a warning.
    package var requiresSocket: Bool
    /// Patterns of files that are fetched once it is mounted, and without which it is not ready.
    package var prefetch: [String]
    /// These are pinned, too.
    package var pinsPrefetched: Bool

    package init(
        source: String,
        prefix: ObjectPrefix,
        mountPoint: String,
        memory: Int = 256 << 20,
        listingTimeToLive: Duration = .seconds(60),
        fetchTimeout: Duration = .seconds(120),
        kernel: FUSEMount.Options = FUSEMount.Options(),
        disk: DiskCache.Options? = nil,
        isHedged: Bool = false,
        sockets: SocketDirectory? = nil,
        requiresSocket: Bool = false,
        prefetch: [String] = [],
        pinsPrefetched: Bool = false
    ) {
        self.source = source
        self.prefix = prefix
        self.mountPoint = mountPoint
        self.memory = memory
        self.listingTimeToLive = listingTimeToLive
        self.fetchTimeout = fetchTimeout
        self.kernel = kernel
        self.disk = disk
        self.isHedged = isHedged
        self.sockets = sockets
        self.requiresSocket = requiresSocket
        self.prefetch = prefetch
        self.pinsPrefetched = pinsPrefetched
    }
}

/// Why a mount could not be started.
package enum MountServiceError: Error, Sendable, CustomStringConvertible {
    case store(ObjectStoreError)
    case manifest(ManifestError)
    case mount(MountError)
    /// The directory of the disk cache cannot be used.
    case cache(String, Errno)
    /// Nobody can listen in this directory.
    case socket(String, Errno)
    /// The staging directory cannot be used; `wouldBlock`: another mount has it.
    case staging(String, Errno)
    /// The staging directory holds what was written to another source.
    case foreignStaging(String, String)
    /// What an earlier mount left in the staging directory cannot be gone on with.
    case journal(String, JournalError)
    /// Another mount writes below the prefix, or nobody can be asked.
    case writer(PublicationError)

    package var description: String {
        switch self {
        case .store(let error): error.description
        case .manifest(let error): error.description
        case .mount(let error): error.description
        case .cache(let path, let error): "the cache directory \(path) cannot be used: \(error)"
        case .socket(let path, let error): "cannot listen in the directory \(path): \(error)"
        case .staging(let path, .wouldBlock):
            "the staging directory \(path) is in use: another mount of this machine writes there"
        case .staging(let path, let error): "the staging directory \(path) cannot be used: \(error)"
        case .foreignStaging(let path, let owner):
            "the staging directory \(path) belongs to \(owner); each source needs one of its own"
        case .journal(let path, let error): "what was staged in \(path) cannot be read: \(error)"
        case .writer(let error): error.description
        }
    }
}

/// A mount of a prefix of a store, from start to stop.
///
/// With a manifest the mount shows exactly that snapshot until it ends, whatever happens to the prefix meanwhile: files
/// that are replaced are read from where the update keeps them aside. Without one it shows what listings show.
package final class MountService: Sendable {
    /// How long a process that takes over waits for the disk of its cache.
    private static let diskPatience = Duration.seconds(5)

    package let mount: FUSEMount
    /// Whether the tree comes from a manifest.
    package let isSnapshot: Bool
    /// One line that says what is mounted where.
    package let readyLine: String
    private let administration: MountAdministration
    /// Nil without a disk cache.
    private let scrubber: Scrubber?
    private let log: Log
    private let end: MountEnd

    /// Reads the manifest or the first listing, and mounts.
    ///
    /// - Parameter kept: a mount that a keeper holds or will hold: it is served from where a former process was, and shows
    ///   what that one showed. Nil: this process mounts by itself, and the mount ends with it.
    package static func start(
        _ store: any ObjectStore,
        _ options: MountOptions,
        kept: KeptMount? = nil,
        metrics registry: MetricRegistry = MetricRegistry(),
        log: Log
    ) async throws(MountServiceError) -> MountService {
        let mountPoint = if let kept { kept.mountPoint } else { try prepared(options, log) }
        let metrics = CacheMetrics(registry)
        let isResumed = (kept?.worker ?? 1) > 1
        let disk = isResumed ? await resumedDisk(options, metrics, log) : try disk(options, metrics, log)
        var admin =
            isResumed
            ? nil : try AdminServer.listening(options.sockets, at: mountPoint, isRequired: options.requiresSocket, log)
        let hedger = options.isHedged ? Hedger(metrics: HedgeMetrics(registry)) : nil
        let (source, snapshot) = try await directories(store, options, kept, hedger, log)
        do {
            let connection = try await kept?.connect()
            // The former process listens until it has ended.
            if isResumed {
                admin = try? AdminServer.listening(
                    options.sockets,
                    at: mountPoint,
                    isRequired: options.requiresSocket,
                    log
                )
            }
            let cache = BlockCache(
                budget: options.memory,
                fetchTimeout: options.fetchTimeout,
                metrics: metrics,
                log: log
            )
            let parts = Parts(
                store: store,
                options: options,
                mountPoint: mountPoint,
                kept: kept,
                source: source,
                snapshot: snapshot,
                cache: cache,
                disk: disk,
                server: admin,
                hedger: hedger,
                registry: registry
            )
            return try MountService(parts, connection, log)
        } catch {
            throw .mount(error)
        }
    }

    /// What is wrong with the place is known at once; the store may take its time.
    private static func prepared(_ options: MountOptions, _ log: Log) throws(MountServiceError) -> MountPoint {
        do {
            return try MountPoint(options.mountPoint).prepared(isForced: options.kernel.isForced, log: log)
        } catch {
            throw .mount(error)
        }
    }

    /// What is there before the mount is.
    private struct Parts {
        var store: any ObjectStore
        var options: MountOptions
        var mountPoint: MountPoint
        var kept: KeptMount?
        var source: any DirectorySource
        /// Nil: the tree comes from listings.
        var snapshot: SnapshotManifest?
        var cache: BlockCache
        var disk: DiskCache?
        var server: AdminServer?
        var hedger: Hedger?
        var registry: MetricRegistry
    }

    private init(_ parts: Parts, _ connection: consuming MountConnection?, _ log: Log) throws(MountError) {
        let (options, registry) = (parts.options, parts.registry)
        let contents = StoredContents(
            store: parts.store,
            prefix: options.prefix,
            fetchTimeout: options.fetchTimeout,
            disk: parts.disk,
            hedger: parts.hedger,
            log: log
        )
        let filesystem: Filesystem
        do {
            filesystem = try Filesystem(
                source: parts.source,
                opener: contents,
                cache: parts.cache,
                options: .init(source: options.source, socket: parts.server?.path, worker: parts.kept?.worker ?? 1),
                inodes: parts.kept?.inodeMemory()
            )
        } catch {
            throw MountError(.system, "cannot make memory for the inode table: \(error)")
        }
        let end = MountEnd()
        self.end = end
        self.log = log
        isSnapshot = parts.snapshot != nil
        let ended = { @Sendable in end.finish() }
        let kernel = options.kernel
        mount =
            if let kept = parts.kept, let connection {
                try FUSEMount(filesystem, connection, of: kept, kernel, metrics: registry, log: log, ended: ended)
            } else {
                try FUSEMount(filesystem, at: parts.mountPoint, kernel, metrics: registry, log: log, ended: ended)
            }
        administration = MountAdministration(
            .init(
                options: options,
                mount: mount,
                filesystem: filesystem,
                contents: contents,
                cache: parts.cache,
                disk: parts.disk,
                snapshot: parts.snapshot,
                registry: registry
            ),
            server: parts.server,
            log: log
        )
        scrubber = parts.disk.map { [mount] disk in
            Scrubber(parts.cache, disk) { await Self.contentsReadByKernel(mount, filesystem) }
        }
        scrubber?.start()
        let what = parts.snapshot.map {
            "\($0.files.count) files of \($0.source.repository)@\($0.source.commit.prefix(12))"
        }
        readyLine = "ready: \(options.source) at \(parts.mountPoint.path) (\(what ?? "by listing"), read-only)"
    }

    /// The same for a process that takes over: readers wait for it, so a disk that fails or hangs is gone without.
    private static func resumedDisk(_ options: MountOptions, _ metrics: CacheMetrics, _ log: Log) async -> DiskCache? {
        guard options.disk != nil else { return nil }
        let result: Result<DiskCache?, MountServiceError>? = await withCheckedContinuation { continuation in
            let waiting = Lock<CheckedContinuation<Result<DiskCache?, MountServiceError>?, Never>?>(continuation)
            let finish: @Sendable (Result<DiskCache?, MountServiceError>?) -> Void = { result in
                waiting.withLock { $0.take() }?.resume(returning: result)
            }
            let alarm = Task {
                try await Task.sleep(for: diskPatience)
                finish(nil)
            }
            let thread = try? NamedThread(name: "disk-open") {
                finish(Result { () throws(MountServiceError) in try disk(options, metrics, log) })
                alarm.cancel()
            }
            guard let thread else { return finish(nil) }
            thread.detach()
        }
        switch result {
        case .success(let disk): return disk
        case .failure(let error):
            log.error("the mount goes on without its disk cache", ["reason": LogValue("\(error)")])
        case nil:
            log.error("the mount goes on without its disk cache", ["reason": "its disk does not answer"])
        }
        return nil
    }

    private static func contentsReadByKernel(_ mount: FUSEMount, _ filesystem: Filesystem) async -> [CachedContent] {
        var contents: [CachedContent] = []
        for node in mount.nodesReadByKernel {
            // One whose object is gone has no checksums any more.
            guard let file = try? await filesystem.hold(node) else { continue }
            contents.append(file.content)
            filesystem.letGo(file)
        }
        return contents
    }

    /// A directory that cannot be used is a fault of the settings; what happens to its disk later is none.
    private static func disk(
        _ options: MountOptions,
        _ metrics: CacheMetrics,
        _ log: Log
    ) throws(MountServiceError) -> DiskCache? {
        guard let disk = options.disk else { return nil }
        do throws(Errno) {
            return try DiskCache(disk, metrics: metrics, log: log)
        } catch {
            throw .cache(disk.directory, error)
        }
    }

    private static func directories(
        _ store: any ObjectStore,
        _ options: MountOptions,
        _ kept: KeptMount?,
        _ hedger: Hedger?,
        _ log: Log
    ) async throws(MountServiceError) -> (any DirectorySource, SnapshotManifest?) {
        do {
            switch kept?.source ?? .undecided {
            case .manifest:
                let manifest = try SnapshotManifest(decoding: kept?.manifest() ?? [])
                return (try ManifestDirectories(manifest, prefix: options.prefix), manifest)
            case .listings: break
            case .undecided:
                let bytes = try await manifest(store, options, hedger)
                if let bytes {
                    let manifest = try SnapshotManifest(decoding: bytes)
                    let source = try ManifestDirectories(manifest, prefix: options.prefix)
                    try kept?.decide(manifest: bytes)
                    return (source, manifest)
                }
                try await checkListable(store, options, hedger)
                try kept?.decide(manifest: nil)
            }
        } catch let error as ObjectStoreError {
            throw .store(error)
        } catch let error as ManifestError {
            throw .manifest(error)
        } catch {
            throw .store(ObjectStoreError(.internal, "\(error)"))
        }
        let listed = ListedDirectories(
            store: store,
            prefix: options.prefix,
            timeToLive: options.listingTimeToLive,
            pageTimeout: options.fetchTimeout,
            hedger: hedger,
            log: log
        )
        return (listed, nil)
    }

    /// The manifest's bytes; nil when there is none.
    private static func manifest(
        _ store: any ObjectStore,
        _ options: MountOptions,
        _ hedger: Hedger?
    ) async throws(ObjectStoreError) -> [UInt8]? {
        do {
            let name = try PenstockPaths(options.prefix).manifest
            return try await within(options.fetchTimeout, of: SystemTime(), "\(options.source): its manifest") {
                () async throws(ObjectStoreError) in
                try await hedger.ask(.record) { () async throws(ObjectStoreError) in
                    try await store.currentBytes(name, limit: SnapshotManifest.maximumBytes)
                }
            }
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// A snapshot is whole or absent: one that is only being published is not shown, and neither is nothing at all.
    private static func checkListable(
        _ store: any ObjectStore,
        _ options: MountOptions,
        _ hedger: Hedger?
    ) async throws(ObjectStoreError) {
        if try await exists(PenstockPaths(options.prefix).intent, in: store, hedger) {
            throw ObjectStoreError(
                .notFound,
                "\(options.source) is being published and has no manifest yet; wait until 'penstock snapshot' is done"
            )
        }
        let request = ListRequest(prefix: options.prefix.value, delimiter: "/", pageSize: 10)
        let page = try await hedger.ask(.listing) { () async throws(ObjectStoreError) in try await store.list(request) }
        if page.objects.isEmpty, page.prefixes.isEmpty, page.nextPageToken == nil {
            throw ObjectStoreError(.notFound, "there is nothing at \(options.source)")
        }
    }

    private static func exists(
        _ name: ObjectName,
        in store: any ObjectStore,
        _ hedger: Hedger?
    ) async throws(ObjectStoreError) -> Bool {
        do {
            _ = try await hedger.ask(.attributes) { () async throws(ObjectStoreError) in
                try await store.attributes(name, generation: nil)
            }
            return true
        } catch {
            if error.code == .notFound { return false }
            throw error
        }
    }

    /// Returns when the kernel has let go of the mount: after `stop`, or because somebody unmounted it.
    package func waitUntilEnded() async {
        await end.wait()
        scrubber?.stop()
        administration.beginStopping()
        administration.stop()
    }

    /// Unmounts: detached when it is in use, with the requests under way answered first.
    ///
    /// Blocks the calling thread for at most about `patience`.
    package func stop(patience: Duration = .seconds(10)) {
        scrubber?.stop()
        administration.beginStopping()
        defer { administration.stop() }
        if mount.stop(patience: patience) {
            log.info("unmounted", ["path": LogValue(mount.mountPoint.path)])
        } else {
            log.warn(
                "detached while files were open; their readers fail when this process ends",
                ["path": LogValue(mount.mountPoint.path)]
            )
        }
    }
}
