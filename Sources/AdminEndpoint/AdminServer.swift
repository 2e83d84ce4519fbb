import Glibc
package import LinuxPlatform
import Synchronization
package import Telemetry

/// What a request is answered with.
package enum AdminAnswer: Sendable {
    case now(AdminReply)
    /// The function is called once, on the server's thread, and must not wait; what it is given is called once, from any
    /// thread. Others are answered meanwhile.
    case later(@Sendable (_ reply: @escaping @Sendable (AdminReply) -> Void) -> Void)
}

/// Answers requests over a socket that is a file, to processes of the same user and of root.
///
/// One thread and poll(2): a handful of clients at once, each with a deadline; more wait until there is room. The handler
/// runs on that thread and must not wait for anything.
package final class AdminServer: Sendable {
    /// Called on the server's thread.
    package typealias Handler = @Sendable (AdminRequest) -> AdminAnswer

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
        let late = try LateReplies()
        let thread = try NamedThread(name: "admin") {
            var loop = AdminLoop(listener, wakeUp: wakeUp, late: late, handler: handler, log: log)
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

/// Replies that come from other threads, also when nobody wants them any more.
private final class LateReplies: Sendable {
    private let reading: FileDescriptor
    private let writing: FileDescriptor
    private let replies = Lock([(client: Int, reply: AdminReply)]())

    /// Readable when there is one.
    var descriptor: Int32 { reading.rawValue }

    init() throws(Errno) {
        let ends = try UnixSocket.pair()
        reading = FileDescriptor(owning: ends.0)
        writing = FileDescriptor(owning: ends.1)
    }

    func add(_ reply: AdminReply, for client: Int) {
        replies.withLock { $0.append((client, reply)) }
        var byte: UInt8 = 0
        _ = write(writing.rawValue, &byte, 1)
    }

    /// Once `descriptor` is readable.
    func take() -> [(client: Int, reply: AdminReply)] {
        var bytes: (UInt64, UInt64) = (0, 0)
        _ = read(reading.rawValue, &bytes, 16)
        return replies.withLock { replies in
            defer { replies = [] }
            return replies
        }
    }
}

/// What the thread of a server works on.
private struct AdminLoop {
    private final class Client {
        let number: Int
        let socket: FileDescriptor
        var state: ClientState
        /// Somebody will answer its request later.
        var isAnsweredLater = false

        init(_ number: Int, _ socket: consuming FileDescriptor, now: MonotonicInstant) {
            self.number = number
            self.socket = socket
            state = ClientState(now: now)
        }
    }

    private let listener: ListeningSocket
    private let wakeUp: Int32
    private let late: LateReplies
    private let handler: AdminServer.Handler
    private let log: Log
    private let time = SystemTime()
    private let buffer = BufferLease(size: 16 << 10)
    private var clients: [Client] = []
    private var lastClient = 0

    init(
        _ listener: ListeningSocket,
        wakeUp: Int32,
        late: LateReplies,
        handler: @escaping AdminServer.Handler,
        log: Log
    ) {
        self.listener = listener
        self.wakeUp = wakeUp
        self.late = late
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
                // Who waits for others has nothing to say, and is not heard if it goes.
                pollfd(
                    fd: client.isAnsweredLater ? -1 : client.socket.rawValue,
                    events: Int16(client.state.need == .write ? POLLOUT : POLLIN),
                    revents: 0
                )
            }
            let isFull = clients.count >= AdminServer.maximumClients
            watched.append(pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0))
            watched.append(pollfd(fd: isFull ? -1 : listener.descriptor.rawValue, events: Int16(POLLIN), revents: 0))
            watched.append(pollfd(fd: late.descriptor, events: Int16(POLLIN), revents: 0))
            let wait = max(0, time.now().duration(to: nextTick).inNanoseconds / 1_000_000 + 1)
            guard poll(&watched, nfds_t(watched.count), Int32(clamping: wait)) >= 0 || errno == EINTR else {
                return log.error("the socket for status and metrics is closed", ["error": LogValue(Errno.current)])
            }
            let (stop, new, answers) = (watched[clients.count], watched[clients.count + 1], watched[clients.count + 2])
            if stop.revents != 0 { return }
            for (client, one) in zip(clients, watched) where one.revents != 0 { advance(client) }
            if answers.revents != 0 { takeLateReplies() }
            if new.revents != 0 { accept() }
            let now = time.now()
            for client in clients { client.state.passed(now) }
            clients.removeAll { $0.state.need == .close }
        }
    }

    private mutating func accept() {
        do throws(Errno) {
            guard let socket = try UnixSocket.accept(listener.descriptor) else { return }
            let user = try UnixSocket.peerUser(socket)
            lastClient += 1
            let client = Client(lastClient, socket, now: time.now())
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
            if case .answer(let request) = client.state.need { answer(request, of: client) }
            while client.state.need == .write, try send(client) {}
        } catch {
            client.state.failed()
        }
    }

    private func answer(_ request: AdminRequest, of client: Client) {
        switch handler(request) {
        case .now(let reply): client.state.reply(reply, now: time.now())
        case .later(let begin):
            client.isAnsweredLater = true
            begin { [late, number = client.number] in late.add($0, for: number) }
        }
    }

    private func takeLateReplies() {
        for (number, reply) in late.take() {
            // Some have had no patience.
            guard let client = clients.first(where: { $0.number == number }) else { continue }
            client.isAnsweredLater = false
            client.state.reply(reply, now: time.now())
            advance(client)
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
