import CCurl
import Glibc
import LinuxPlatform

/// Downloads that a loop carries by itself on connections that libcurl made, received straight into the caller's memory.
///
/// libcurl receives into a buffer of its own and hands it over, a copy of every byte: a sixth of what reading a model
/// cold takes of the processor. `DirectRequest` says which requests are plain enough, `ReplyFraming` which replies;
/// all else is libcurl's. `ConnectionPool` says which connection carries what. Used by the loop's thread alone.
final class DirectTransfers {
    enum End {
        /// `isReuse`: on a connection that was there before.
        case result(Result<HTTPDownloadResult, HTTPFailure>, isReuse: Bool)
        /// The reply's body has no plain length: nothing of it was given out, and libcurl can ask again.
        case unframed
    }

    /// Bytes received at once, and from one connection before the others have their turn.
    private static let turn = 512 << 10
    /// For heads and for what is collected.
    private static let scratchCount = 16 << 10

    private let configuration: EngineConfiguration
    private let multi: UnsafeMutableRawPointer
    private let share: UnsafeMutableRawPointer?
    private let alarm: LoopAlarm
    private let time = SystemTime()
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: scratchCount, alignment: 64)

    private var pool: ConnectionPool
    private var connections: [ConnectionPool.Connection: DirectConnection] = [:]
    /// Where each transfer is that has a connection.
    private var places: [UInt64: ConnectionPool.Connection] = [:]
    /// Those that wait for one.
    private var waiting: [UInt64: DirectExchange] = [:]
    private var ended: [(Transfer, End)] = []
    private var opening = 0
    private var nextSweep = MonotonicInstant(nanoseconds: 0)
    /// What the last poll looked at.
    private var watched: [curl_waitfd] = []
    private var watchedNumbers: [ConnectionPool.Connection] = []
    /// Connections that may have received more than poll(2) sees: the rest of a TLS record.
    private var unfinished: Set<ConnectionPool.Connection> = []

    init(
        _ configuration: EngineConfiguration,
        _ pool: ConnectionPool,
        multi: UnsafeMutableRawPointer,
        share: UnsafeMutableRawPointer?,
        alarm: LoopAlarm
    ) {
        self.configuration = configuration
        self.pool = pool
        self.multi = multi
        self.share = share
        self.alarm = alarm
    }

    deinit { scratch.deallocate() }

    // MARK: What the loop asks

    /// Whether libcurl makes connections now.
    var isOpening: Bool { opening > 0 }
    /// Whether there is something to do that poll(2) does not see.
    var hasMore: Bool { !unfinished.isEmpty }
    var transfers: [Transfer] {
        places.values.compactMap { connections[$0]?.exchange?.transfer } + waiting.values.map(\.transfer)
    }

    func transfer(_ id: UInt64) -> Transfer? {
        places[id].flatMap { connections[$0]?.exchange?.transfer } ?? waiting[id]?.transfer
    }

    /// The next transfer that has ended, once.
    func nextEnd() -> (Transfer, End)? { ended.isEmpty ? nil : ended.removeFirst() }

    /// Takes a transfer; false when it is none that is carried here.
    func start(_ transfer: Transfer) -> Bool {
        guard pool.isUsable, let request = DirectRequest(transfer.request, configuration) else { return false }
        begin(DirectExchange(transfer, request))
        return true
    }

    /// Ends a transfer wherever it is; false when it is not here.
    func abort(_ id: UInt64, _ failure: HTTPFailure) -> Bool {
        if let exchange = waiting.removeValue(forKey: id) {
            pool.withdraw(id)
            ended.append((exchange.transfer, .result(.failure(failure), isReuse: false)))
            return true
        }
        guard let connection = places[id].flatMap({ connections[$0] }) else { return false }
        finish(connection, .result(.failure(failure), isReuse: connection.isReused), keeping: false)
        return true
    }

    // MARK: Connections

    private func begin(_ exchange: DirectExchange) {
        let answer = pool.ask(exchange.request.origin, for: exchange.transfer.id)
        if answer == .wait {
            waiting[exchange.transfer.id] = exchange
        } else {
            follow(answer, exchange)
        }
    }

    private func follow(_ answer: ConnectionPool.Answer, _ exchange: DirectExchange) {
        switch answer {
        case .wait: break
        case .use(let number):
            guard let connection = connections[number] else {
                return refuse(number, exchange, .connect, "its connection is gone")
            }
            place(exchange, on: connection)
            goOut(connection)
        case .open(let number): open(number, exchange)
        case .replace(let old, let number):
            close(old)
            open(number, exchange)
        }
    }

    private func place(_ exchange: DirectExchange, on connection: DirectConnection) {
        connection.exchange = exchange
        places[exchange.transfer.id] = connection.number
    }

    private func open(_ number: ConnectionPool.Connection, _ exchange: DirectExchange) {
        let timeouts = exchange.transfer.request.timeouts
        guard let connection = DirectConnection(number, to: exchange.request.origin) else {
            return refuse(number, exchange, .connect, "libcurl takes no more requests")
        }
        guard connection.easy.prepare(connection, configuration, timeouts, share: share) else {
            return refuse(number, exchange, .invalidRequest, "libcurl refuses the request")
        }
        guard curl_multi_add_handle(multi, connection.easy.handle) == CURLM_OK else {
            return refuse(number, exchange, .connect, "libcurl takes no more requests")
        }
        connections[number] = connection
        opening += 1
        place(exchange, on: connection)
    }

    private func refuse(
        _ number: ConnectionPool.Connection,
        _ exchange: DirectExchange,
        _ code: HTTPFailure.Code,
        _ why: String
    ) {
        ended.append((exchange.transfer, .result(.failure(exchange.transfer.failure(code, why)), isReuse: false)))
        admit(pool.forget(number))
    }

    /// libcurl has made a connection, or has not.
    func opened(_ connection: DirectConnection, _ result: CURLcode) {
        guard connections[connection.number] === connection, connection.socket < 0 else { return }
        if result == CURLE_OK, connection.opened() {
            opening -= 1
            return goOut(connection)
        }
        // `close` counts one that never had a socket.
        let outcome = connection.exchange?.transfer.outcome(
            result == CURLE_OK ? CURLE_COULDNT_CONNECT : result,
            connection.easy.end
        )
        if let outcome { finish(connection, .result(outcome, isReuse: false), keeping: false) }
    }

    private func admit(_ admitted: [(ConnectionPool.Request, ConnectionPool.Answer)]) {
        for (request, answer) in admitted {
            guard let exchange = waiting.removeValue(forKey: request) else { continue }
            follow(answer, exchange)
        }
    }

    /// Takes a connection out of libcurl, which closes it.
    private func close(_ number: ConnectionPool.Connection) {
        guard let connection = connections.removeValue(forKey: number) else { return }
        if connection.socket < 0 { opening -= 1 }
        unfinished.remove(number)
        curl_multi_remove_handle(multi, connection.easy.handle)
    }

    private func drop(_ number: ConnectionPool.Connection) {
        close(number)
        admit(pool.forget(number))
    }

    /// Closes what was idle for too long: servers forget such connections silently.
    private func closeOld() {
        let now = time.now()
        guard now >= nextSweep else { return }
        nextSweep = now.advanced(by: .seconds(1))
        let moment = now.advanced(by: .zero - configuration.idleConnectionAge)
        for number in pool.idle(since: moment) { drop(number) }
    }

    /// Closes all connections. Nothing may run any more.
    func closeAll() {
        for number in Array(connections.keys) { close(number) }
    }

    // MARK: Exchanges

    /// Waits until something happens to a connection, a socket of libcurl's or the mailbox, or until the time is over.
    func poll(timeout: Int32) {
        watched.removeAll(keepingCapacity: true)
        watchedNumbers.removeAll(keepingCapacity: true)
        for (number, connection) in connections where connection.socket >= 0 {
            let wantsToSend = connection.exchange.map { !$0.isSent } ?? false
            let events = wantsToSend ? CURL_WAIT_POLLIN | CURL_WAIT_POLLOUT : CURL_WAIT_POLLIN
            watched.append(curl_waitfd(fd: connection.socket, events: Int16(events), revents: 0))
            watchedNumbers.append(number)
        }
        let count = UInt32(watched.count)
        let began = time.now()
        watched.withUnsafeMutableBufferPointer { watched in
            _ = curl_multi_poll(multi, watched.baseAddress, count, timeout, nil)
        }
        let ended = time.now()
        for (index, number) in watchedNumbers.enumerated() where connections[number]?.exchange?.isSent == true {
            let isReady = watched[index].revents != 0
            connections[number]?.exchange?.balance.polled(from: began, to: ended, isReady: isReady)
        }
    }

    /// Goes on with every connection that the last poll found something on.
    func serve() {
        let more = unfinished
        unfinished.removeAll(keepingCapacity: true)
        for (index, number) in watchedNumbers.enumerated() where watched[index].revents != 0 || more.contains(number) {
            // A number is never used again: one that was closed meanwhile is not found.
            guard let connection = connections[number] else { continue }
            // Idle, and something came: the server has closed it, or speaks unasked.
            if connection.exchange == nil { drop(number) } else { goOn(connection) }
        }
        watchedNumbers.removeAll(keepingCapacity: true)
        closeOld()
    }

    /// Sends a request on a connection that is there.
    private func goOut(_ connection: DirectConnection) {
        guard let transfer = connection.exchange?.transfer, transfer.connected() else { return }
        alarm.lower(to: transfer.clock.due)
        _ = send(connection)
    }

    /// Whether the whole request is on its way.
    private func send(_ connection: DirectConnection) -> Bool {
        while let exchange = connection.exchange, !exchange.isSent {
            switch connection.send(exchange.request.bytes[exchange.sent...]) {
            case .success(0): return false
            case .success(let count): connection.exchange?.sent += count
            case .failure(let failure):
                lost(connection, failure.result)
                return false
            }
        }
        return true
    }

    private func goOn(_ connection: DirectConnection) {
        guard send(connection), let transfer = connection.exchange?.transfer else { return }
        var (left, isDrained) = (Self.turn, false)
        while left > 0, !isDrained {
            guard let (count, isFull) = receive(connection) else {
                isDrained = true
                break
            }
            left -= count
            // A socket that gave less than there was room for is empty. Of TLS one cannot know: a record at a time comes.
            isDrained = !isFull && !connection.isSecure
        }
        // Closed meanwhile, or it carries the next one.
        guard connections[connection.number]?.exchange?.transfer === transfer else { return }
        if connection.exchange?.balance.received(isDrained: isDrained, at: time.now()) == true { transfer.behind() }
        if left <= 0, connection.isSecure { unfinished.insert(connection.number) }
    }

    /// Receives once; nil when the exchange is over, or nothing is there.
    private func receive(_ connection: DirectConnection) -> (count: Int, isFull: Bool)? {
        guard let exchange = connection.exchange else { return nil }
        let place = exchange.framing.place(in: exchange.transfer)
        let room = UnsafeMutableRawBufferPointer(rebasing: (place ?? scratch).prefix(Self.turn))
        switch connection.receive(into: room) {
        case .nothing: return nil
        case .ended:
            lost(connection, exchange.framing.phase == .body ? CURLE_PARTIAL_FILE : CURLE_GOT_NOTHING)
        case .failed(let result): lost(connection, result)
        case .bytes(let count):
            if place != nil {
                connection.exchange?.framing.placed(count, exchange.transfer)
            } else {
                connection.exchange?.framing.take(
                    UnsafeRawBufferPointer(rebasing: room.prefix(count)),
                    exchange.transfer
                )
            }
            return settle(connection) ? nil : (count, count == room.count)
        }
        return nil
    }

    /// Ends the exchange when its reply is over.
    private func settle(_ connection: DirectConnection) -> Bool {
        guard let exchange = connection.exchange else { return true }
        switch exchange.framing.phase {
        case .head, .body: return false
        case .unframed:
            finish(connection, .unframed, keeping: false)
        case .complete, .aborted:
            let isWhole = exchange.framing.phase == .complete && exchange.framing.keepsConnection
            let result = exchange.transfer.outcome(CURLE_OK, CurlFailure.End(text: "", proxyStatus: 0))
            finish(connection, .result(result, isReuse: connection.isReused), keeping: isWhole)
        }
        return true
    }

    /// The connection broke. One that was used before and brought nothing may have been closed while it was idle: its
    /// request, which only reads, goes out again on another.
    private func lost(_ connection: DirectConnection, _ result: CURLcode) {
        guard let exchange = connection.exchange else { return }
        if connection.isReused, !exchange.framing.hasBegun {
            connection.exchange = nil
            places[exchange.transfer.id] = nil
            exchange.transfer.startOver()
            drop(connection.number)
            return begin(DirectExchange(exchange.transfer, exchange.request))
        }
        let outcome = exchange.transfer.outcome(result, connection.easy.end)
        finish(connection, .result(outcome, isReuse: connection.isReused), keeping: false)
    }

    /// Takes the exchange from its connection, which carries the next one, or is closed.
    private func finish(_ connection: DirectConnection, _ end: End, keeping: Bool) {
        guard let exchange = connection.exchange else { return }
        connection.exchange = nil
        connection.carried += 1
        places[exchange.transfer.id] = nil
        if case .unframed = end { exchange.transfer.startOver() }
        ended.append((exchange.transfer, end))
        if keeping {
            admit(pool.release(connection.number, at: time.now()))
        } else {
            drop(connection.number)
        }
    }
}
