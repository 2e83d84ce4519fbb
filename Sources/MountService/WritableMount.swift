package import AdminEndpoint
import BlockCache
package import FUSEMount
import Glibc
import LinuxPlatform
import Manifests
package import ObjectStorage
import Publication
package import Telemetry
import TransferEngine
package import WriteBack

/// What to mount for writing, where, and with what means.
package struct WritableMountOptions: Sendable {
    /// For people and for `user.penstock.source`: the URL that was asked for, without secrets.
    package var source: String
    package var prefix: ObjectPrefix
    /// An existing directory.
    package var mountPoint: String
    /// Of the local disk, for this mount alone; made, for its owner only, when it is missing.
    package var staging: String
    package var writing: WriteBackOptions
    /// Of the cache of what is read, in bytes.
    package var memory = 256 << 20
    /// After this a request for bytes of the bucket has failed.
    package var fetchTimeout = Duration.seconds(120)
    /// Reads that hang are asked for again.
    package var isHedged = false
    /// A checkpoint whose writer is done is recorded.
    package var recordsCheckpoints = true
    package var kernel: FUSEMount.Options
    /// Where the daemon listens for `penstock status` and its like; nil: nowhere.
    package var sockets: SocketDirectory?
    /// It is a fault when it cannot listen there; if not, it is worth a warning.
    package var requiresSocket: Bool

    package init(
        source: String,
        prefix: ObjectPrefix,
        mountPoint: String,
        staging: String,
        writing: WriteBackOptions = WriteBackOptions(),
        kernel: FUSEMount.Options = FUSEMount.Options(),
        sockets: SocketDirectory? = nil,
        requiresSocket: Bool = false
    ) {
        self.source = source
        self.prefix = prefix
        self.mountPoint = mountPoint
        self.staging = staging
        self.writing = writing
        self.kernel = kernel
        self.sockets = sockets
        self.requiresSocket = requiresSocket
    }
}

/// A mount that is written to, from start to stop.
///
/// The order of a start: the staging directory is locked, the writer's lease taken, the journal read; the kernel is answered, the
/// bucket is asked. A process that takes over answers first and takes the lease meanwhile. Of an end: the mount leaves the tree,
/// then what is staged goes to the bucket, as far as there is time, and the lease is given back.
package final class WritableMount: Sendable {
    /// How long a process that takes over waits for the staging directory.
    private static let lockPatience = Duration.seconds(10)

    package let mount: FUSEMount
    /// One line that says what is mounted where.
    package let readyLine: String
    private let tree: WriteBack
    private let staging: StagingDirectory
    /// Nil where many may write.
    private let lease: WriterLease?
    /// Nil where many may write: then only who knows of all of them can tell that a checkpoint is whole.
    private let recorder: CheckpointRecorder?
    private let administration: WritableAdministration
    private let log: Log
    private let end: MountEnd

    /// Reads what an earlier process left, and mounts.
    ///
    /// - Parameter kept: a mount that a keeper holds or will hold: it is served from where a former process was. Nil: this
    ///   process mounts by itself, and the mount ends with it.
    package static func start(
        _ store: any ObjectStore,
        _ options: WritableMountOptions,
        kept: KeptMount? = nil,
        metrics registry: MetricRegistry = MetricRegistry(),
        log: Log
    ) async throws(MountServiceError) -> WritableMount {
        let isResumed = (kept?.worker ?? 1) > 1
        let mountPoint = if let kept { kept.mountPoint } else { try prepared(options, log) }
        // The process before has the staging directory, and the socket, until it ends: then the connection comes.
        var connection: MountConnection?
        if isResumed { connection = try await connected(kept) }
        let staging = try await locked(options, patience: isResumed ? Self.lockPatience : .zero)
        let lease = options.writing.isShared ? nil : try WriterLease(store, options, staging, log)
        do throws(MountServiceError) {
            if isResumed { lease?.pursue() } else { try await lease?.taken(log) }
            let reading = reading(store, options, registry, log)
            let (tree, server) = try opened(store, options, staging, mountPoint, kept, lease, reading, log)
            if !isResumed { connection = try await connected(kept) }
            let parts = Parts(
                options: options,
                mountPoint: mountPoint,
                kept: kept,
                staging: staging,
                lease: lease,
                recorder: recorder(store, options, tree, lease, log),
                tree: tree,
                server: server,
                registry: registry
            )
            return try begun(parts, connection, log)
        } catch {
            await lease?.release()
            throw error
        }
    }

    private static func reading(
        _ store: any ObjectStore,
        _ options: WritableMountOptions,
        _ registry: MetricRegistry,
        _ log: Log
    ) -> CachedObjects {
        let cache = BlockCache(
            budget: options.memory,
            fetchTimeout: options.fetchTimeout,
            metrics: CacheMetrics(registry),
            log: log
        )
        return CachedObjects(store, cache, options.isHedged ? Hedger(metrics: HedgeMetrics(registry)) : nil)
    }

    private static func recorder(
        _ store: any ObjectStore,
        _ options: WritableMountOptions,
        _ tree: WriteBack,
        _ lease: WriterLease?,
        _ log: Log
    ) -> CheckpointRecorder? {
        guard options.recordsCheckpoints, let lease else { return nil }
        return CheckpointRecorder(store, options.prefix, tree, time: SystemTime(), log: log) {
            () async throws(ObjectStoreError) in try await lease.ensureHeld()
        }
    }

    private static func begun(
        _ parts: Parts,
        _ connection: consuming MountConnection?,
        _ log: Log
    ) throws(MountServiceError) -> WritableMount {
        do throws(MountError) { return try WritableMount(parts, connection, log) } catch { throw .mount(error) }
    }

    private static func prepared(
        _ options: WritableMountOptions,
        _ log: Log
    ) throws(MountServiceError) -> MountPoint {
        do throws(MountError) {
            return try MountPoint(options.mountPoint).prepared(isForced: options.kernel.isForced, log: log)
        } catch {
            throw .mount(error)
        }
    }

    private static func connected(_ kept: KeptMount?) async throws(MountServiceError) -> MountConnection? {
        do throws(MountError) { return try await kept?.connect() } catch { throw .mount(error) }
    }

    /// The staging directory. A process that was killed has its lock until it is gone altogether.
    private static func locked(
        _ options: WritableMountOptions,
        patience: Duration
    ) async throws(MountServiceError) -> StagingDirectory {
        let deadline = SystemTime().now().advanced(by: patience)
        while true {
            do throws(Errno) { return try StagingDirectory(path: options.staging) } catch {
                guard error == .wouldBlock, SystemTime().now() < deadline else {
                    throw .staging(options.staging, error)
                }
            }
            // Whoever cannot sleep any more must not look without a pause.
            guard (try? await Task.sleep(for: .milliseconds(50))) != nil else {
                throw .staging(options.staging, .wouldBlock)
            }
        }
    }

    /// The tree that the staging directory's journal tells of.
    private static func opened(
        _ store: any ObjectStore,
        _ options: WritableMountOptions,
        _ staging: StagingDirectory,
        _ mountPoint: MountPoint,
        _ kept: KeptMount?,
        _ lease: WriterLease?,
        _ reading: CachedObjects,
        _ log: Log
    ) throws(MountServiceError) -> (WriteBack, AdminServer?) {
        let boot: [UInt8]
        let owner: String?
        do throws(Errno) {
            owner = try staging.claim(for: options.source)
            boot = try Journal.thisBoot()
        } catch {
            throw .staging(options.staging, error)
        }
        if let owner { throw .foreignStaging(options.staging, owner) }
        let server = try AdminServer.listening(
            options.sockets,
            at: mountPoint,
            isRequired: options.requiresSocket,
            log
        )
        var surroundings = WriteBack.Surroundings(
            store: store,
            root: options.prefix,
            time: SystemTime(),
            boot: boot,
            isNewMount: kept?.isServedFirst ?? true
        )
        surroundings.space = { staging.space }
        surroundings.reading = reading
        if let lease {
            surroundings.mayWrite = { () async throws(ObjectStoreError) in try await lease.ensureHeld() }
        }
        var writing = options.writing
        writing.tellsOfDirectories = options.recordsCheckpoints && !writing.isShared
        writing.shown["user.penstock.source"] = Array(options.source.utf8)
        writing.shown["user.penstock.socket"] = server.map { Array($0.path.utf8) }
        do throws(JournalError) {
            return (try WriteBack(staging.directory, surroundings, writing), server)
        } catch {
            throw .journal(options.staging, error)
        }
    }

    private struct Parts {
        var options: WritableMountOptions
        var mountPoint: MountPoint
        var kept: KeptMount?
        var staging: StagingDirectory
        var lease: WriterLease?
        var recorder: CheckpointRecorder?
        var tree: WriteBack
        var server: AdminServer?
        var registry: MetricRegistry
    }

    private init(_ parts: Parts, _ connection: consuming MountConnection?, _ log: Log) throws(MountError) {
        let (options, tree, registry) = (parts.options, parts.tree, parts.registry)
        let end = MountEnd()
        self.end = end
        self.log = log
        self.tree = tree
        staging = parts.staging
        lease = parts.lease
        recorder = parts.recorder
        let ended = { @Sendable in
            tree.detach()
            end.finish()
        }
        if let kept = parts.kept, let connection {
            // Before the first answer: whoever takes over must know that there may be handles.
            try kept.noteServed()
            mount = try FUSEMount(tree, connection, of: kept, options.kernel, metrics: registry, log: log, ended: ended)
        } else {
            mount = try FUSEMount(tree, at: parts.mountPoint, options.kernel, metrics: registry, log: log, ended: ended)
        }
        administration = WritableAdministration(options, mount, tree, registry, server: parts.server, log: log)
        readyLine = "ready: \(options.source) at \(parts.mountPoint.path) (writable, staged in \(options.staging))"
        tree.begin()
        recorder?.start()
    }

    /// How things stand.
    package var status: WriteBackStatus { tree.status }

    /// Returns when the kernel has let go of the mount: after `detach`, or because somebody unmounted it.
    package func waitUntilEnded() async {
        await end.wait()
        administration.beginStopping()
    }

    /// Takes the mount out of the tree, and answers the requests that are under way; who has files open keeps them until the
    /// process ends.
    ///
    /// Blocks the calling thread for at most about `patience`.
    package func detach(patience: Duration = .seconds(5)) {
        administration.beginStopping()
        if mount.stop(patience: patience) {
            log.info("unmounted", ["path": LogValue(mount.mountPoint.path)])
        } else {
            log.warn(
                "detached while files were open; their users fail when this process ends",
                ["path": LogValue(mount.mountPoint.path)]
            )
        }
    }

    /// Puts what is staged and closed into the bucket; what somebody still has open for writing stays staged.
    ///
    /// - Returns: what is left when that is done, or the time is over: it goes on at the next start with the same staging directory.
    package func drain(within limit: Duration) async -> WriteBackStatus {
        let status = await tree.drain(within: limit)
        if status.isSettled {
            log.info("everything that was written is in the bucket", ["source": LogValue(administration.source)])
        } else {
            log.warn(
                "not everything is in the bucket; the next mount with this staging directory goes on",
                [
                    "files": .integer(status.waiting.count), "bytes": .integer(status.staged),
                    "reason": LogValue(status.lastError?.message ?? "the time was over"),
                ]
            )
        }
        if status.isSettled { await recorder?.finish() }
        administration.stop()
        tree.close()
        await lease?.release()
        return status
    }
}

extension WriterLease {
    /// In the name of everyone who mounts with this staging directory.
    fileprivate convenience init(
        _ store: any ObjectStore,
        _ options: WritableMountOptions,
        _ staging: StagingDirectory,
        _ log: Log
    ) throws(MountServiceError) {
        let owner: OperationID
        do throws(Errno) { owner = try staging.identity() } catch { throw .staging(options.staging, error) }
        let name: ObjectName
        do throws(ObjectStoreError) { name = try PenstockPaths(options.prefix).writer } catch { throw .store(error) }
        let purpose = "mount of \(options.source)"
        self.init(store, name, owner: owner, purpose: purpose, time: SystemTime(), log: log)
    }

    /// How long a start waits for the bucket to say anything.
    private static let patience = Duration.seconds(3)

    /// Takes it; where nobody answers, in the background: what is staged here can be gone on with all the same.
    fileprivate func taken(_ log: Log) async throws(MountServiceError) {
        let answer = await withTaskGroup(of: Result<Bool, PublicationError>?.self) { group in
            group.addTask {
                do throws(PublicationError) { return .success(try await self.takeAtOnce()) } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                try? await Task.sleep(for: Self.patience)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        do throws(PublicationError) {
            if let answer { return try await answer.get() ? () : take() }
        } catch {
            guard error.cause?.isTransient == true else { throw .writer(error) }
        }
        log.warn("the bucket does not say who writes below the prefix: nothing is written to it before", [:])
        pursue()
    }
}

extension KeptMount {
    /// No process has served this mount before.
    fileprivate var isServedFirst: Bool { source == .undecided }

    /// From now on one has: what it writes down is the next one's to go on with.
    fileprivate func noteServed() throws(MountError) {
        do throws(Errno) { try decide(manifest: nil) } catch {
            throw MountError(.system, "cannot note that the mount is served: \(error)")
        }
    }
}
