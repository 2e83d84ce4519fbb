import Glibc
package import LinuxPlatform
import Synchronization
package import Telemetry

/// Answers requests over a socket that is a file, to processes of the same user and of root.
///
/// One thread and poll(2): a handful of clients at once, each with a deadline; more wait until there is room. The handler
/// runs on that thread and must not wait for anything.
package final class AdminServer: Sendable {
    /// Called on the server's thread.
    package typealias Handler = @Sendable (AdminRequest) -> AdminReply

    static let maximumClients = 16
    /// How often `tick` is called.
    package static let tickInterval = Duration.seconds(1)

    private struct State {
        var thread: NamedThread?
        var isServing = false
        var isStopped = false
    }

    private let directory: SocketDirectory
    private let listener: ListeningSocket
    private let wakeUp: (Int32, Int32)
    private let state = Lock(State())
    private let hasStopped = Monitor(false)
    private let log: Log

    /// Listens from now on; who connects waits until `serve`.
    ///
    /// - Throws: see `SocketDirectory.listen`.
    package init(_ directory: SocketDirectory, mountPoint: String, log: Log) throws(Errno) {
        wakeUp = try UnixSocket.pair()
        listener = try directory.listen(mountPoint: mountPoint)
        self.directory = directory
        self.log = log
    }

    /// Where it listens; absolute.
    package var path: String { listener.path }

    /// Answers from now on, on a thread of its own, until `stop`. Once.
    ///
    /// - Parameter tick: called about every second, and before the first request.
    package func serve(tick: @escaping @Sendable () -> Void = {}, _ handler: @escaping Handler) throws(Errno) {
        let isFirst = state.withLock { state in
            defer { state.isServing = true }
            return !state.isServing
        }
        guard isFirst else { return }
        let (listener, wakeUp, log) = (listener, wakeUp.0, log)
        let thread = try NamedThread(name: "admin") {
            var loop = AdminLoop(listener, wakeUp: wakeUp, handler: handler, log: log)
            loop.run(tick)
        }
        state.withLock { $0.thread = thread }
    }

    /// Returns when it is over, whoever began it: ends the thread, with the clients it has, and takes the socket away.
    package func stop() {
        let (isFirst, thread) = state.withLock { state in
            defer { state.isStopped = true }
            return (!state.isStopped, state.thread.take())
        }
        guard isFirst else {
            _ = hasStopped.wait(until: .distantFuture) { $0 }
            return
        }
        var byte: UInt8 = 0
        _ = write(wakeUp.1, &byte, 1)
        thread?.join()
        listener.refuse()
        directory.remove(path)
        close(wakeUp.0)
        close(wakeUp.1)
        hasStopped.withLock { $0 = true }
    }

    deinit { stop() }
}

/// What the thread of a server works on.
private struct AdminLoop {
    private final class Client {
        let socket: FileDescriptor
        var state: ClientState

        init(_ socket: consuming FileDescriptor, now: MonotonicInstant) {
            self.socket = socket
            state = ClientState(now: now)
        }
    }

    private let listener: ListeningSocket
    private let wakeUp: Int32
    private let handler: AdminServer.Handler
    private let log: Log
    private let time = SystemTime()
    private let buffer = BufferLease(size: 16 << 10)
    private var clients: [Client] = []

    init(
        _ listener: ListeningSocket,
        wakeUp: Int32,
        handler: @escaping AdminServer.Handler,
        log: Log
    ) {
        self.listener = listener
        self.wakeUp = wakeUp
        self.handler = handler
        self.log = log
    }

    mutating func run(_ tick: () -> Void) {
        var nextTick = time.now()
        while true {
            if time.now() >= nextTick {
                tick()
                nextTick = time.now().advanced(by: AdminServer.tickInterval)
            }
            var watched = clients.map { client in
                pollfd(
                    fd: client.socket.rawValue,
                    events: Int16(client.state.need == .write ? POLLOUT : POLLIN),
                    revents: 0
                )
            }
            let isFull = clients.count >= AdminServer.maximumClients
            watched.append(pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0))
            watched.append(pollfd(fd: isFull ? -1 : listener.descriptor.rawValue, events: Int16(POLLIN), revents: 0))
            let wait = max(0, time.now().duration(to: nextTick).inNanoseconds / 1_000_000 + 1)
            guard poll(&watched, nfds_t(watched.count), Int32(clamping: wait)) >= 0 || errno == EINTR else {
                return log.error("the socket for status and metrics is closed", ["error": LogValue(Errno.current)])
            }
            if watched[clients.count].revents != 0 { return }
            for (client, one) in zip(clients, watched) where one.revents != 0 { advance(client) }
            if watched[clients.count + 1].revents != 0 { accept() }
            let now = time.now()
            for client in clients { client.state.passed(now) }
            clients.removeAll { $0.state.need == .close }
        }
    }

    private mutating func accept() {
        do throws(Errno) {
            guard let socket = try UnixSocket.accept(listener.descriptor) else { return }
            let user = try UnixSocket.peerUser(socket)
            let client = Client(socket, now: time.now())
            if user != 0, user != geteuid() {
                client.state.reply(AdminReply(403, "only for the user of this daemon and for root"), now: time.now())
            }
            clients.append(client)
        } catch {
            log.warn("a client of the daemon's socket was lost", ["error": LogValue(error)])
        }
    }

    private func advance(_ client: Client) {
        do throws(Errno) {
            if client.state.need == .read { try receive(client) }
            if case .answer(let request) = client.state.need { client.state.reply(handler(request), now: time.now()) }
            while client.state.need == .write, try send(client) {}
        } catch {
            client.state.failed()
        }
    }

    private func receive(_ client: Client) throws(Errno) {
        guard let count = try UnixSocket.receive(client.socket, buffer.bytes) else { return }
        client.state.received(buffer.bytes[..<count], now: time.now())
    }

    /// - Returns: whether more may go at once.
    private func send(_ client: Client) throws(Errno) -> Bool {
        var failure: Errno?
        let sent = client.state.rest.withUnsafeBytes { bytes -> Int? in
            do throws(Errno) { return try UnixSocket.send(client.socket, bytes) } catch {
                failure = error
                return nil
            }
        }
        if let failure { throw failure }
        guard let sent else { return false }
        client.state.sent(sent, now: time.now())
        return true
    }
}
