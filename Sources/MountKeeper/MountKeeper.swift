package import FUSEMount
import Glibc
import LinuxPlatform
package import Telemetry

/// The process that holds a mount: it opens /dev/fuse, mounts, and starts the processes that serve, one after the other.
///
/// It has one thread, reads no bytes of anybody, and never touches what is below the mount point: there may be nobody to
/// answer it. While it lives the kernel keeps the mount, and readers wait instead of failing.
package final class MountKeeper {
    /// What is to be mounted, and what serves it.
    package struct Options: Sendable {
        /// Prepared.
        package var mountPoint: MountPoint
        /// Other users than this process's may read it.
        package var allowsOthers: Bool
        /// It is written to: processes that serve it have a `WritableTree`.
        package var isWritable: Bool
        /// The arguments of a process that serves, but for `Descriptors`; with the program's own name in front.
        package var arguments: @Sendable (KeptMount.Descriptors) -> [String]
        /// As `NAME=value`.
        package var environment: [String]
        /// Where those processes begin.
        package var directory: String?

        package init(
            mountPoint: MountPoint,
            allowsOthers: Bool,
            isWritable: Bool = false,
            environment: [String],
            directory: String?,
            arguments: @escaping @Sendable (KeptMount.Descriptors) -> [String]
        ) {
            self.mountPoint = mountPoint
            self.allowsOthers = allowsOthers
            self.isWritable = isWritable
            self.environment = environment
            self.directory = directory
            self.arguments = arguments
        }
    }

    /// Why a keeper cannot begin.
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    private struct Worker {
        let process: Int32
        let socket: MessageSocketBox
        /// Its end of the socket is closed.
        var isSilent = false
    }

    /// How often processes are looked at, in milliseconds.
    private static let look: Int64 = 1000
    private static let signals = [SIGTERM, SIGINT, SIGUSR2, SIGCHLD]

    private let options: Options
    private let log: Log
    private let ready: (String) -> Void
    private let signals: SignalWatch
    private let kept: KeptMemory
    private var programs: KeeperPrograms
    private var connection: MountConnection?
    private var device: String?
    private var state = KeeperState()
    private var workers: [WorkerID: Worker] = [:]
    private var readyLine = ""
    private var alarms: [MonotonicInstant] = []
    private var status: Int32?
    private var mountError: MountError?

    /// Takes SIGTERM, SIGINT, SIGUSR2 and SIGCHLD of this process over.
    ///
    /// - Parameter ready: called once, when the mount is ready, with a line for people.
    package init(_ options: Options, log: Log, ready: @escaping (String) -> Void) throws(Failure) {
        self.options = options
        self.log = log
        self.ready = ready
        do throws(Errno) {
            signals = try SignalWatch(Self.signals)
            kept = try KeptMemory(mountPoint: options.mountPoint.path)
            programs = try KeeperPrograms()
        } catch {
            throw Failure(description: "cannot make what the keeper of a mount needs: \(error)")
        }
        // Whoever started this process may have left them blocked, and there is no other thread to take them.
        var taken = sigset_t()
        sigemptyset(&taken)
        for signal in Self.signals { sigaddset(&taken, signal) }
        pthread_sigmask(SIG_UNBLOCK, &taken, nil)
    }

    /// Keeps the mount until it ends; the exit status of this process.
    ///
    /// - Throws: why nothing could be mounted.
    package func run() throws(MountError) -> Int32 {
        handle(.start)
        while status == nil { wait() }
        if let mountError { throw mountError }
        return status ?? 1
    }

    // MARK: - Events

    private func handle(_ event: KeeperState.Event) {
        var events = [event]
        while !events.isEmpty, status == nil {
            for action in state.handle(events.removeFirst(), at: SystemTime().now()) {
                // What fails at once is an event of its own, after this one.
                if let event = perform(action) { events.append(event) }
            }
        }
    }

    private func wait() {
        let listening = workers.filter { !$0.value.isSilent }.map { (id: $0.key, socket: $0.value.socket.raw) }
        var polled = ([signals.descriptor] + listening.map(\.socket)).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        let next = alarms.min().map { SystemTime().now().duration(to: $0).inNanoseconds / 1_000_000 + 1 }
        // Only where there are listings names are taken out of the kernel, and a process can be stuck in that.
        let limit = kept.state.source == .listings ? Self.look : nil
        let timeout = [next, limit].compactMap { $0 }.min().map { Int32(clamping: max(0, min($0, 3_600_000))) } ?? -1
        let count = poll(&polled, nfds_t(polled.count), timeout)
        guard count >= 0 else { return }
        // With nothing to do for so long: a process that just ends is none of those.
        if count == 0, limit != nil { lookForDying() }
        // Words first: a process that has ended may have said something before.
        for (index, listener) in listening.enumerated() where polled[index + 1].revents != 0 { listen(to: listener.id) }
        if polled[0].revents != 0 { takeSignal() }
        let now = SystemTime().now()
        if alarms.contains(where: { $0 <= now }) {
            alarms.removeAll { $0 <= now }
            handle(.time)
        }
    }

    private func listen(to id: WorkerID) {
        guard let worker = workers[id] else { return }
        guard let message = worker.socket.receive() else {
            workers[id]?.isSilent = true
            return
        }
        switch KeptMount.Word(message) {
        case .prepared: handle(.prepared(id))
        case .serving(let line):
            readyLine = line
            handle(.serving(id))
        case nil: break
        }
    }

    private func takeSignal() {
        switch signals.next() {
        case SIGCHLD: reap()
        case SIGUSR2:
            log.info("the program on the disk shall take over", ["program": LogValue(programs.path)])
            handle(.upgrade)
        case let signal: handle(.stop(signal: signal))
        }
    }

    /// As the first process of a container it is given the children of others, too: they are only reaped.
    private func reap() {
        while let child = ServingProcess.reap() {
            guard let (id, worker) = workers.first(where: { $0.value.process == child.process }) else { continue }
            while !worker.socket.isEmpty, status == nil { listen(to: id) }
            workers[id] = nil
            handle(.ended(id, child.end, kept.report))
        }
    }

    /// Whoever is dying serves nobody any more: it is not waited for.
    private func lookForDying() {
        reap()
        for (id, worker) in workers where status == nil && DyingProcess.isDying(worker.process) {
            log.warn("a process that died cannot go yet", ["process": .integer(Int(id.number))])
            workers[id] = nil
            handle(.ended(id, .killed(signal: SIGKILL), kept.report))
        }
    }

    // MARK: - Actions

    /// - Returns: what follows from it at once.
    private func perform(_ action: KeeperState.Action) -> KeeperState.Event? {
        switch action {
        case .spawn(let id, let binary): return spawn(id, binary)
        case .connect(let id): connect(id)
        case .announce: ready(readyLine)
        case .signal(let id, let signal): if let worker = workers[id] { _ = Glibc.kill(worker.process, signal) }
        case .kill(let id): if let worker = workers[id] { _ = Glibc.kill(worker.process, SIGKILL) }
        case .charge(let id, let strikes): charge(id, strikes)
        case .settle(let isAdopted): programs.settle(isAdopted: isAdopted)
        case .unmount: unmount()
        case .wake(let moment): alarms.append(moment)
        case .exit(let status): end(status)
        case .tell(let notice): notice.write(to: log)
        }
        return nil
    }

    private func spawn(_ id: WorkerID, _ binary: KeeperState.Binary) -> KeeperState.Event? {
        do throws(Errno) {
            let program = try programs.program(binary)
            var far: FileDescriptor?
            let socket = try MessageSocketBox(connectedTo: &far)
            guard let far else { throw .invalidArgument }
            let descriptors = kept.descriptors(worker: id.number, socket: far.rawValue)
            let process = try ServingProcess.start(
                .init(
                    program: program,
                    arguments: options.arguments(descriptors),
                    environment: options.environment,
                    directory: options.directory,
                    descriptors: descriptors.numbers
                )
            )
            workers[id] = Worker(process: process, socket: socket)
            return nil
        } catch {
            log.error("cannot start a process that serves the mount", ["error": LogValue(error)])
            return .ended(id, .exited(1), kept.report)
        }
    }

    private func connect(_ id: WorkerID) {
        guard let worker = workers[id] else { return }
        if connection == nil {
            do throws(MountError) {
                connection = try MountConnection(
                    mountingAt: options.mountPoint,
                    allowsOthers: options.allowsOthers,
                    isWritable: options.isWritable
                )
                device = try? MountTable.current().top(at: options.mountPoint.path)?.device
            } catch {
                mountError = error
                return end(1)
            }
        }
        kept.beginWorker()
        // One that is gone already has its end reported.
        if let device = connection?.descriptor { worker.socket.send([1], passing: device) }
    }

    private func charge(_ id: WorkerID, _ strikes: Int) {
        for request in kept.state.charge(worker: id.number, strikes: strikes) {
            log.error(
                "a request is not tried any more: processes have died while they had it",
                ["node": .integer(Int(clamping: request.node)), "kind": .integer(Int(request.opcode))]
            )
        }
    }

    /// Only what is ours: somebody may have mounted another thing at the same place.
    private func unmount() {
        guard let device, let top = try? MountTable.current().top(at: options.mountPoint.path), top.device == device
        else { return }
        do throws(MountError) {
            try options.mountPoint.detach()
            log.info("unmounted", ["path": LogValue(options.mountPoint.path)])
        } catch {
            log.error("cannot unmount", ["path": LogValue(options.mountPoint.path), "error": LogValue(error)])
        }
    }

    /// Closing the connection ends whatever still waits on the mount.
    private func end(_ status: Int32) {
        for worker in workers.values { _ = Glibc.kill(worker.process, SIGKILL) }
        self.status = status
    }
}
