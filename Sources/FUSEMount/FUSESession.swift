import CFuse3
import Filesystem
import Glibc
import LinuxPlatform
import Synchronization
import Telemetry

/// libfuse's low-level session on a channel of ours, and the threads that feed it.
///
/// Each thread reads requests from the kernel into a buffer of its own and lets libfuse call the operations, which answer
/// at once or park a `FUSEReply`. The kernel orders nothing between them.
final class FUSESession: @unchecked Sendable {  // libfuse's session is thread-safe; all else here is constant or locked
    /// The kernel's largest request for bytes: 256 pages (FUSE_MAX_MAX_PAGES).
    static let maximumRead = 1 << 20
    /// max_write and the headers: the kernel refuses to be read with less.
    private static let bufferSize = maximumRead + 4096
    static let maximumBackground: UInt32 = 512

    let filesystem: Filesystem
    let owners: (user: UInt32, group: UInt32)
    let activity = SessionActivity()
    let metrics: MountMetrics
    /// Nil when it is switched off.
    let passthrough: Passthrough?
    private let log: Log
    private let ended: @Sendable () -> Void
    private let descriptor: Int32
    /// The number of the INIT whose reply shall agree to passthrough; 0 when there is none.
    private let agreeing = Atomic<UInt64>(0)
    // Set once in init, before any thread runs.
    private var session: OpaquePointer?
    private var notifier: KernelNotifier?

    /// - Parameters:
    ///   - backings: where the kernel behind an open /dev/fuse takes files to read them by itself; nil: it shall not.
    ///   - ended: called on the last thread's way out: the kernel has let go of the mount.
    init(
        _ channel: consuming Channel,
        filesystem: Filesystem,
        owners: (user: UInt32, group: UInt32),
        backings: ((Int32) -> any BackingRegistry)?,
        metrics: MountMetrics,
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.filesystem = filesystem
        self.owners = owners
        self.log = log
        self.ended = ended
        self.metrics = metrics
        let device = channel.descriptor.rawValue
        descriptor = device
        passthrough = backings.map { Passthrough($0(device), metrics: metrics, log: log) }
        var operations = FUSEOperations.table()
        // Unretained: `session` is destroyed only in deinit, and no callback runs then.
        let context = Unmanaged.passUnretained(self).toOpaque()
        var name: [UnsafeMutablePointer<CChar>?] = [strdup("penstock"), nil]
        defer { free(name[0]) }
        session = name.withUnsafeMutableBufferPointer { name in
            var arguments = fuse_args(argc: 1, argv: name.baseAddress, allocated: 0)
            return fuse_session_new(&arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, context)
        }
        guard let session else { throw MountError(.system, "libfuse could not make a session") }
        var io = fuse_custom_io()
        io.read = { descriptor, buffer, count, _ in Glibc.read(descriptor, buffer, count) }
        io.writev = { descriptor, vector, count, context in
            guard let vector, let context else {
                errno = EINVAL
                return -1
            }
            let session = Unmanaged<FUSESession>.fromOpaque(context).takeUnretainedValue()
            return session.send(descriptor, UnsafeMutableBufferPointer(start: vector, count: Int(count)))
        }
        let result = fuse_session_custom_io(session, &io, descriptor)
        guard result == 0 else { throw MountError("libfuse refused the channel", Errno(abs(result))) }
        // From here on libfuse closes it, in fuse_session_destroy.
        _ = channel.descriptor.release()
        let notifier = KernelNotifier { [weak self] directory, name in self?.forget(name, in: directory) }
        self.notifier = notifier
        filesystem.observeNames { directory, names in notifier.forget(names, in: directory) }
    }

    /// The kernel looks the name up again when it is used next. It may not know the directory any more: no matter.
    private func forget(_ name: EntryName, in directory: NodeID) {
        fuse_lowlevel_notify_inval_entry(session, directory.value, name.value, name.value.utf8.count)
    }

    deinit {
        if let session { fuse_session_destroy(session) }
    }

    /// The session that a request belongs to.
    static func of(_ request: fuse_req_t) -> FUSESession? {
        guard let context = fuse_req_userdata(request) else { return nil }
        return Unmanaged<FUSESession>.fromOpaque(context).takeUnretainedValue()
    }

    /// Starts the threads.
    func start(threads: Int) throws(MountError) {
        activity.threadsStart(threads)
        for number in 1...threads {
            do {
                try NamedThread(name: "fuse-\(number)") { self.serve() }.detach()
            } catch {
                throw MountError("cannot start a thread", error)
            }
        }
    }

    private func serve() {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.bufferSize, alignment: 4096)
        defer { buffer.deallocate() }
        var hasServed = false
        while let count = receive(buffer) {
            if !hasServed { prepareInit(UnsafeRawBufferPointer(start: buffer, count: count)) }
            var request = fuse_buf()
            request.size = count
            request.mem = buffer
            request.fd = -1
            fuse_session_process_buf(session, &request)
            // The kernel's first request is INIT, and until it has the reply there is no second one.
            if !hasServed { activity.initialized() }
            hasServed = true
        }
        guard activity.threadEnded() else { return }
        notifier?.end()
        passthrough?.end()
        ended()
    }

    /// The next request's size; nil when the mount is gone.
    private func receive(_ buffer: UnsafeMutableRawPointer) -> Int? {
        while true {
            let count = Glibc.read(descriptor, buffer, Self.bufferSize)
            if count > 0 { return count }
            let error = Errno.current
            // ENOENT: the request was interrupted before we had it (fuse_dev_do_read).
            if count < 0, error == .interrupted || error == .noEntry || error == .wouldBlock { continue }
            if count < 0, error != Errno(ENODEV) {
                log.error("reading from /dev/fuse failed", ["error": LogValue(error)])
            }
            return nil
        }
    }

    // MARK: - INIT

    /// Looks at the kernel's first request before libfuse does, which does not know all of its flags.
    private func prepareInit(_ bytes: UnsafeRawBufferPointer) {
        guard let passthrough, let request = InitRequest(bytes) else { return }
        if request.offersPassthrough {
            agreeing.store(request.unique, ordering: .releasing)
        } else {
            passthrough.refuse("the kernel has none; it needs Linux 6.9")
        }
    }

    /// All of libfuse's replies come by here; that to INIT may leave changed.
    private func send(_ descriptor: Int32, _ pieces: UnsafeMutableBufferPointer<iovec>) -> Int {
        let unique = agreeing.load(ordering: .acquiring)
        guard unique != 0 else { return Glibc.writev(descriptor, pieces.baseAddress, Int32(pieces.count)) }
        // Until INIT is answered there is no other reply.
        agreeing.store(0, ordering: .releasing)
        var reply: [UInt8] = []
        for piece in pieces { reply += UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len) }
        let isAgreed = reply.withUnsafeMutableBytes { InitReply.agreeToPassthrough($0, unique: unique) }
        if !isAgreed { passthrough?.refuse("libfuse's reply to INIT has another form than ours can be") }
        return Glibc.write(descriptor, reply, reply.count)
    }

    /// What we want of the kernel; called by libfuse before it answers INIT.
    func negotiate(_ connection: inout fuse_conn_info) {
        connection.max_background = Self.maximumBackground
        connection.congestion_threshold = Self.maximumBackground * 3 / 4
        connection.max_readahead = .max
        // One inode is one content: nothing is ever invalid. Splicing from memory is slower than writev.
        let unwanted =
            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE
            | FUSE_CAP_WRITEBACK_CACHE
        let wanted =
            FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS
            | FUSE_CAP_READDIRPLUS_AUTO
        connection.want = (connection.want & ~UInt32(unwanted)) | (connection.capable & UInt32(wanted))
    }
}
