import CFuse3
import CLinux
import Filesystem
import Glibc
import LinuxPlatform
import Synchronization
import Telemetry

/// libfuse's low-level session on a channel of ours, and the threads that feed it.
///
/// Each thread reads requests from the kernel into a buffer of its own and lets libfuse call the operations, which answer
/// at once or park a `FUSEReply`. The kernel orders nothing between them. What is asked is answered by the subclass whose
/// operations they are: `ReadOnlySession`, `WritableSession`.
class FUSESession: @unchecked Sendable {  // libfuse's session is thread-safe; all else here is constant or locked
    /// The kernel's largest request for bytes: 256 pages (FUSE_MAX_MAX_PAGES).
    static let maximumRead = 1 << 20
    /// max_write and the headers: the kernel refuses to be read with less.
    static let maximumRequest = maximumRead + 4096
    static let maximumBackground: UInt32 = 512

    /// How much of a request's memory is touched beforehand.
    private let usualRequest: Int
    /// What else the kernel shall do, beside what is good for all: flags of INIT that libfuse knows.
    private let wanted: UInt32
    /// The same, of flags that it does not know.
    private let wantedBesides: InitReply.Agreement
    let activity = SessionActivity()
    let metrics: MountMetrics
    /// Nil when it is switched off.
    let passthrough: Passthrough?
    private let log: Log
    private let ended: @Sendable () -> Void
    /// The connection to the kernel; libfuse closes it.
    private let descriptor: Int32
    private let usesResend: Bool
    /// Nil when this process is the only one that will ever serve the mount.
    private let records: SessionRecords?
    private let negotiation = Lock(InitNegotiation())
    /// Replies go by the negotiation: until INIT is answered, and there is no other one until then.
    private let isNegotiating = Atomic<Bool>(true)
    // Set once in init, before any thread runs.
    private var session: OpaquePointer?
    private(set) var notifier: KernelNotifier?
    // Set once before any thread runs.
    private var ownDevice: FileDescriptor?
    /// Where requests are read and answered.
    private var device: Int32

    /// - Parameters:
    ///   - operations: of the subclass.
    ///   - usualRequest: bytes; larger requests are rare.
    ///   - wanted: flags of INIT (FUSE_CAP_…) that libfuse knows, for where the kernel has them.
    ///   - wantedBesides: what else of INIT, for where the kernel has it.
    ///   - backings: where the kernel behind an open /dev/fuse takes files to read them by itself; nil: it shall not.
    ///   - usesResend: agree upon that the kernel sends requests again.
    ///   - records: notes for the process that comes after this one, and of the one before.
    ///   - ended: called on the last thread's way out: the kernel has let go of the mount.
    init(
        _ channel: consuming Channel,
        _ operations: fuse_lowlevel_ops,
        usualRequest: Int,
        wanted: UInt32 = 0,
        wantedBesides: InitReply.Agreement = [],
        backings: ((Int32) -> any BackingRegistry)?,
        usesResend: Bool = true,
        records: SessionRecords? = nil,
        metrics: MountMetrics,
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.usualRequest = usualRequest
        self.wanted = wanted
        self.wantedBesides = wantedBesides
        self.log = log
        self.ended = ended
        self.metrics = metrics
        let descriptor = channel.descriptor.rawValue
        self.descriptor = descriptor
        device = descriptor
        self.usesResend = usesResend
        self.records = records
        passthrough = backings.map {
            Passthrough($0(descriptor), inherited: records?.inherited ?? [], metrics: metrics, log: log)
        }
        var operations = operations
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
        io.writev = { _, vector, count, context in
            guard let vector, let context else {
                errno = EINVAL
                return -1
            }
            let session = Unmanaged<FUSESession>.fromOpaque(context).takeUnretainedValue()
            return session.send(UnsafeMutableBufferPointer(start: vector, count: Int(count)))
        }
        let result = fuse_session_custom_io(session, &io, descriptor)
        guard result == 0 else { throw MountError("libfuse refused the channel", Errno(abs(result))) }
        // From here on libfuse closes it, in fuse_session_destroy.
        _ = channel.descriptor.release()
        notifier = KernelNotifier { [weak self] notice in self?.tell(notice) }
    }

    /// The kernel asks again for what it is told of when it is used next. It may not know it any more: no matter.
    private func tell(_ notice: KernelNotifier.Notice) {
        switch notice {
        case .name(let name, let directory):
            fuse_lowlevel_notify_inval_entry(session, directory.value, name.value, name.value.utf8.count)
        case .content(let node): fuse_lowlevel_notify_inval_inode(session, node.value, 0, 0)
        }
    }

    deinit {
        if let session { fuse_session_destroy(session) }
    }

    /// The session that a request belongs to. To be called by the operations of this class.
    static func of(_ request: fuse_req_t) -> Self? {
        guard let context = fuse_req_userdata(request) else { return nil }
        return unsafeDowncast(Unmanaged<FUSESession>.fromOpaque(context).takeUnretainedValue(), to: Self.self)
    }

    /// Goes on where a former process was, if there was one, and starts the threads.
    func start(threads: Int) throws(MountError) {
        resume()
        try takeOwnDevice()
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
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.maximumRequest, alignment: 4096)
        defer { buffer.deallocate() }
        // Requests must land in pages that are there. To make one the kernel refuses when the process has just been killed,
        // and then it fails the request with EIO (fuse_dev_do_read) instead of leaving it to the next process.
        buffer.initializeMemory(as: UInt8.self, repeating: 0, count: usualRequest)
        while let count = receive(buffer) {
            let bytes = UnsafeRawBufferPointer(start: buffer, count: count)
            if isNegotiating.load(ordering: .acquiring) { prepareInit(bytes) }
            if let records, isAnsweredByRecords(records, bytes) { continue }
            process(buffer, count)
        }
        guard activity.threadEnded() else { return }
        notifier?.end()
        passthrough?.end()
        ended()
    }

    private func process(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
        var request = fuse_buf()
        request.size = count
        request.mem = buffer
        request.fd = -1
        CurrentRequest.begin(UnsafeRawBufferPointer(start: buffer, count: count))
        fuse_session_process_buf(session, &request)
    }

    /// Whether the notes answer a request, which libfuse then does not get to see.
    private func isAnsweredByRecords(_ records: SessionRecords, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let header = RequestHeader(bytes) else { return false }
        if header.isResent { metrics.resent.add() }
        let reply: [UInt8]
        switch records.received(header) {
        case .serve: return false
        case .answer(let message): reply = message
        case .refuse(let message):
            reply = message
            metrics.refused.add()
            log.error(
                "a request is answered with EIO: processes have died while they had it",
                ["node": .integer(Int(clamping: header.node)), "kind": .integer(Int(header.opcode))]
            )
        }
        let isTaken = Glibc.write(device, reply, reply.count) >= 0
        records.answered(header.unique, isTaken: isTaken)
        return true
    }

    /// The next request's size; nil when the mount is gone.
    private func receive(_ buffer: UnsafeMutableRawPointer) -> Int? {
        while true {
            let count = Glibc.read(device, buffer, Self.maximumRequest)
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
        guard let request = InitRequest(bytes) else { return }
        let canResend = request.offersResend && usesResend
        records?.state.record(initRequest: bytes, canResend: canResend)
        if !request.offersPassthrough { passthrough?.refuse("the kernel has none; it needs Linux 6.9") }
        var wanted: InitReply.Agreement = []
        if request.offersPassthrough, passthrough != nil { wanted.insert(.passthrough) }
        if canResend, records != nil { wanted.insert(.resend) }
        if request.offersPrivilegeClearing { wanted.formUnion(wantedBesides.intersection(.privilegeClearing)) }
        negotiation.withLock { $0 = InitNegotiation(unique: request.unique, wanted: wanted) }
    }

    /// Lets libfuse have the first request that the kernel sent to a former process, and asks for those that nobody has
    /// answered. Before the first thread reads: what the kernel sends again is whatever was read until then.
    private func resume() {
        guard let records else { return }
        if records.isResumed { metrics.workers.set(Int(records.worker)) }
        if let (request, hasPassthrough) = records.state.answeredInit {
            negotiation.withLock { $0 = InitNegotiation(isReplay: true) }
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(request.count, 4096), alignment: 4096)
            defer { buffer.deallocate() }
            buffer.copyMemory(from: request, byteCount: request.count)
            process(buffer, request.count)
            if !hasPassthrough { passthrough?.refuse("the mount began without it") }
        }
        guard records.isResumed, records.state.canResend else { return }
        let message = ReplyMessage.resend
        if Glibc.write(descriptor, message, message.count) < 0, Errno.current != Errno(ENODEV) {
            log.error("the kernel does not send requests again", ["error": LogValue(Errno.current)])
        }
    }

    /// Where the kernel cannot send requests again, this process reads them from a /dev/fuse of its own: with its death the
    /// kernel ends those that it has not answered, and they do not wait for ever.
    private func takeOwnDevice() throws(MountError) {
        guard let records else { return }
        if !records.isResumed { answerInit() }
        guard !records.state.canResend, records.state.answeredInit != nil else { return }
        do throws(Errno) {
            let own = try FileDescriptor(path: "/dev/fuse", flags: O_RDWR)
            let (mine, shared) = (own.rawValue, descriptor)
            _ = try retryingOnInterrupt { clinux_fuse_clone(mine, shared) }
            device = mine
            ownDevice = consume own
            records.state.endsRequests = true
        } catch {
            // The next one cannot do without: the keeper relies on it.
            if records.isResumed { throw MountError("cannot open another /dev/fuse for the mount", error) }
            log.warn(
                "this kernel cannot send requests again, and /dev/fuse cannot be opened: a crash ends the mount",
                ["error": LogValue(error)]
            )
        }
    }

    /// The kernel's first request lies there since it was mounted, and until it is answered there is no other one.
    private func answerInit() {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.maximumRequest, alignment: 4096)
        defer { buffer.deallocate() }
        while isNegotiating.load(ordering: .acquiring), let count = receive(buffer) {
            prepareInit(UnsafeRawBufferPointer(start: buffer, count: count))
            process(buffer, count)
        }
    }

    /// All of libfuse's replies come by here; that to INIT may leave changed, or not at all.
    private func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Int {
        if isNegotiating.load(ordering: .acquiring) { return sendInit(pieces) }
        guard let records, let first = pieces.first, first.iov_len == ReplyMessage.headerSize,
            let header = first.iov_base
        else { return Glibc.writev(device, pieces.baseAddress, Int32(pieces.count)) }
        let unique = header.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let error = header.loadUnaligned(fromByteOffset: 4, as: Int32.self)
        if pieces.count == 2, pieces[1].iov_len == OpenReply.size {
            records.answering(
                unique,
                error: error,
                UnsafeRawBufferPointer(start: pieces[1].iov_base, count: OpenReply.size)
            )
        }
        let result = Glibc.writev(device, pieces.baseAddress, Int32(pieces.count))
        let number = errno
        // Messages of our own have no number.
        if unique != 0 { records.answered(unique, isTaken: result >= 0) }
        errno = number
        return result
    }

    /// Until INIT is answered there is no other reply.
    private func sendInit(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Int {
        var reply: [UInt8] = []
        for piece in pieces { reply += UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len) }
        let (negotiation, agreed) = negotiation.withLock { negotiation in
            (negotiation, reply.withUnsafeMutableBytes { negotiation.agree(in: $0) })
        }
        defer {
            isNegotiating.store(false, ordering: .releasing)
            activity.initialized()
        }
        if negotiation.isReplay { return reply.count }
        if negotiation.wanted.contains(.passthrough), !agreed.contains(.passthrough) {
            passthrough?.refuse("libfuse's reply to INIT has another form than ours can be")
        }
        let result = Glibc.write(descriptor, reply, reply.count)
        if result >= 0 { records?.state.recordInitAnswer(hasPassthrough: agreed.contains(.passthrough)) }
        return result
    }

    /// What we want of the kernel; called by libfuse before it answers INIT.
    func negotiate(_ connection: inout fuse_conn_info) {
        connection.max_background = Self.maximumBackground
        connection.congestion_threshold = Self.maximumBackground * 3 / 4
        connection.max_readahead = .max
        // What others than the kernel change, we tell it. Splicing from memory is slower than writev.
        let unwanted =
            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE
            | FUSE_CAP_WRITEBACK_CACHE
        let wanted =
            FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS
            | FUSE_CAP_READDIRPLUS_AUTO
        connection.want =
            (connection.want & ~UInt32(unwanted)) | (connection.capable & (UInt32(wanted) | self.wanted))
    }
}

/// What becomes of the reply to the kernel's first request.
private struct InitNegotiation {
    var unique: UInt64 = 0
    var wanted: InitReply.Agreement = []
    /// The kernel has a reply already, and gets no other one.
    var isReplay = false

    func agree(in reply: UnsafeMutableRawBufferPointer) -> InitReply.Agreement {
        isReplay ? [] : InitReply.agree(wanted, in: reply, unique: unique)
    }
}
