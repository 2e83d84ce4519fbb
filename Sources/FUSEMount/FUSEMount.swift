package import Filesystem
import Glibc
import LinuxPlatform
package import Telemetry
package import WriteBack

/// A filesystem, or a tree that is written to, mounted: from `init` until `stop`, or until somebody unmounts it.
package final class FUSEMount: Sendable {
    package struct Options: Sendable {
        /// Other users than this process's may read it.
        package var allowsOthers: Bool
        /// Mount also over files, or over a mount of something else.
        package var isForced: Bool
        /// Shown as the owners of everything.
        package var user: UInt32
        package var group: UInt32
        /// The kernel's read-ahead per stream, in KiB; nil leaves it at 128.
        package var kernelReadAhead: Int?
        /// Threads that take requests, 1 to 16.
        package var threads: Int
        /// Let the kernel read proven files of the disk cache by itself, where it can.
        package var usesPassthrough: Bool
        /// Agree upon that the kernel sends requests again. False: as on a kernel that cannot (before Linux 6.9); for tests.
        package var usesResend = true
        /// The kernel behind an open /dev/fuse; tests have others.
        var backings: @Sendable (Int32) -> any BackingRegistry = { KernelBackings(device: $0) }

        package init(
            allowsOthers: Bool = true,
            isForced: Bool = false,
            user: UInt32 = getuid(),
            group: UInt32 = getgid(),
            kernelReadAhead: Int? = 16 << 10,
            threads: Int = 4,
            usesPassthrough: Bool = true
        ) {
            self.allowsOthers = allowsOthers
            self.isForced = isForced
            self.user = user
            self.group = group
            self.kernelReadAhead = kernelReadAhead
            self.threads = threads
            self.usesPassthrough = usesPassthrough
        }
    }

    package let mountPoint: MountPoint
    private let session: FUSESession

    /// What is mounted.
    private enum Content {
        case filesystem(Filesystem)
        case tree(any WritableTree)

        var isWritable: Bool { if case .tree = self { true } else { false } }
    }

    /// Who reports what, and to whom.
    private struct Reports {
        var metrics: MetricRegistry
        var log: Log
        var ended: @Sendable () -> Void
    }

    /// Mounts, and serves from threads of its own.
    ///
    /// - Parameter ended: called once when the kernel has let go of the mount, whoever unmounted it.
    package convenience init(
        _ filesystem: Filesystem,
        at mountPoint: MountPoint,
        _ options: Options,
        metrics: MetricRegistry = MetricRegistry(),
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        let reports = Reports(metrics: metrics, log: log, ended: ended)
        try self.init(mounting: .filesystem(filesystem), at: mountPoint, options, reports)
    }

    /// Mounts what can be written to, and serves from threads of its own. Owners and passthrough of the options do not
    /// matter: the tree says whose its files are, and answers all reads.
    ///
    /// - Parameter ended: called once when the kernel has let go of the mount, whoever unmounted it.
    package convenience init(
        _ tree: any WritableTree,
        at mountPoint: MountPoint,
        _ options: Options,
        metrics: MetricRegistry = MetricRegistry(),
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        let reports = Reports(metrics: metrics, log: log, ended: ended)
        try self.init(mounting: .tree(tree), at: mountPoint, options, reports)
    }

    private convenience init(
        mounting content: Content,
        at mountPoint: MountPoint,
        _ options: Options,
        _ reports: Reports
    ) throws(MountError) {
        _ = try mountPoint.prepare(isForced: options.isForced)
        let connection = try MountConnection(
            mountingAt: mountPoint,
            allowsOthers: options.allowsOthers,
            isWritable: content.isWritable
        )
        do throws(MountError) {
            try self.init(content, connection, at: mountPoint, nil, options, reports)
        } catch {
            try? mountPoint.detach()
            throw error
        }
        raiseReadAhead(options, reports.log)
    }

    /// Serves a mount that a keeper holds; goes on where a former process was, if there was one.
    ///
    /// - Parameters:
    ///   - filesystem: with the inode table of the mount.
    ///   - connection: from `kept`.
    ///   - ended: called once when the kernel has let go of the mount, whoever unmounted it.
    package convenience init(
        _ filesystem: Filesystem,
        _ connection: consuming MountConnection,
        of kept: KeptMount,
        _ options: Options,
        metrics: MetricRegistry = MetricRegistry(),
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        let reports = Reports(metrics: metrics, log: log, ended: ended)
        try self.init(serving: .filesystem(filesystem), connection, of: kept, options, reports)
    }

    /// Serves a writable mount that a keeper holds; goes on where a former process was, if there was one.
    ///
    /// - Parameters:
    ///   - tree: with what the former process wrote down of this mount: nodes, open handles, answers.
    ///   - connection: from `kept`, of a mount that was made writable.
    ///   - ended: called once when the kernel has let go of the mount, whoever unmounted it.
    package convenience init(
        _ tree: any WritableTree,
        _ connection: consuming MountConnection,
        of kept: KeptMount,
        _ options: Options,
        metrics: MetricRegistry = MetricRegistry(),
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        let reports = Reports(metrics: metrics, log: log, ended: ended)
        try self.init(serving: .tree(tree), connection, of: kept, options, reports)
    }

    private convenience init(
        serving content: Content,
        _ connection: consuming MountConnection,
        of kept: KeptMount,
        _ options: Options,
        _ reports: Reports
    ) throws(MountError) {
        let records: SessionRecords
        do throws(Errno) {
            let opens = try kept.openMemory()
            records = try SessionRecords(
                worker: kept.worker,
                kept.state,
                opens: opens,
                countsHandles: !content.isWritable
            )
        } catch {
            throw MountError("cannot take over what is open", error)
        }
        try self.init(content, connection, at: kept.mountPoint, records, options, reports)
        if records.isResumed {
            reports.log.info("another process serves the mount now", ["process": .integer(Int(kept.worker))])
        } else {
            raiseReadAhead(options, reports.log)
        }
    }

    private init(
        _ content: Content,
        _ connection: consuming MountConnection,
        at mountPoint: MountPoint,
        _ records: SessionRecords?,
        _ options: Options,
        _ reports: Reports
    ) throws(MountError) {
        self.mountPoint = mountPoint
        let channel = connection.takeChannel()
        let metrics = MountMetrics(reports.metrics)
        switch content {
        case .filesystem(let filesystem):
            let backings = options.usesPassthrough ? options.backings : nil
            session = try ReadOnlySession(
                channel,
                filesystem: filesystem,
                owners: (options.user, options.group),
                backings: backings,
                usesResend: options.usesResend,
                records: records,
                metrics: metrics,
                log: reports.log,
                ended: reports.ended
            )
        case .tree(let tree):
            session = try WritableSession(
                channel,
                tree: tree,
                usesResend: options.usesResend,
                records: records,
                metrics: metrics,
                log: reports.log,
                ended: reports.ended
            )
        }
        try session.start(threads: min(max(options.threads, 1), 16))
    }

    private func raiseReadAhead(_ options: Options, _ log: Log) {
        // INIT sets the kernel's read-ahead too: ours must come after it. The kernel sends it at once.
        _ = session.activity.waitForInit(until: SystemTime().now().advanced(by: .seconds(1)))
        guard let readAhead = options.kernelReadAhead else { return }
        do {
            try KernelReadAhead.set(readAhead, at: mountPoint.path)
        } catch {
            log.warn("the kernel's read-ahead stays small, reading will be slower", ["error": LogValue(error)])
        }
    }

    /// Requests that wait for an answer.
    package var inFlight: Int { session.activity.inFlight }

    /// Whether the kernel reads an inode, which is open, by itself.
    package func isReadByKernel(_ node: NodeID) -> Bool {
        if case .kernel? = session.passthrough?.mode(of: node) { true } else { false }
    }

    /// The open inodes that the kernel reads by itself, those among them that a former process has opened; in no order.
    package var nodesReadByKernel: [NodeID] { session.passthrough?.nodesReadByKernel ?? [] }

    /// Unmounts, detaching the mount when it is in use, and lets the requests that are under way have their answers.
    ///
    /// Files that are still open then go on until this process ends.
    ///
    /// - Parameter patience: how long to wait for answers.
    /// - Returns: whether the mount is gone with all of its users.
    package func stop(patience: Duration) -> Bool {
        if session.activity.isRunning, isStillMounted {
            do throws(MountError) {
                try mountPoint.unmount(isDetached: false)
            } catch {
                try? mountPoint.detach()
            }
        }
        return session.activity.waitForEnd(until: SystemTime().now().advanced(by: patience))
    }

    private var isStillMounted: Bool {
        (try? MountTable.current().top(at: mountPoint.path))?.type == MountPoint.filesystemType
    }
}
