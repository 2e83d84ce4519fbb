package import Filesystem
import Glibc
import LinuxPlatform
package import Telemetry

/// A filesystem, mounted: from `init` until `stop`, or until somebody unmounts it.
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
        _ = try mountPoint.prepare(isForced: options.isForced)
        let connection = try MountConnection(mountingAt: mountPoint, allowsOthers: options.allowsOthers)
        do throws(MountError) {
            try self.init(filesystem, connection, at: mountPoint, nil, options, metrics, log, ended)
        } catch {
            try? mountPoint.detach()
            throw error
        }
        raiseReadAhead(options, log)
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
        let records: SessionRecords
        do throws(Errno) {
            let opens = try kept.openMemory()
            records = try SessionRecords(worker: kept.worker, kept.state, opens: opens)
        } catch {
            throw MountError("cannot take over what is open", error)
        }
        try self.init(filesystem, connection, at: kept.mountPoint, records, options, metrics, log, ended)
        if records.isResumed {
            log.info("another process serves the mount now", ["process": .integer(Int(kept.worker))])
        } else {
            raiseReadAhead(options, log)
        }
    }

    private init(
        _ filesystem: Filesystem,
        _ connection: consuming MountConnection,
        at mountPoint: MountPoint,
        _ records: SessionRecords?,
        _ options: Options,
        _ metrics: MetricRegistry,
        _ log: Log,
        _ ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.mountPoint = mountPoint
        let channel = connection.takeChannel()
        let backings = options.usesPassthrough ? options.backings : nil
        session = try FUSESession(
            channel,
            filesystem: filesystem,
            owners: (options.user, options.group),
            backings: backings,
            usesResend: options.usesResend,
            records: records,
            metrics: MountMetrics(metrics),
            log: log,
            ended: ended
        )
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
