import LinuxPlatform

/// Which connection carries which request: the rules, without I/O and without connections.
///
/// A connection is *opening*, *busy* or *idle*; requests past the bounds wait their turn, in order for each origin.
/// Invariants: no more connections to an origin than `perOrigin`, and in all than `total`; nobody waits for an origin
/// that has an idle connection, or room for one more; an idle connection belongs to nobody.
struct ConnectionPool {
    typealias Connection = UInt64
    typealias Request = UInt64

    enum Answer: Equatable {
        case use(Connection)
        /// Make one, under this number.
        case open(Connection)
        /// The same, after closing another origin's idle one.
        case replace(Connection, by: Connection)
        case wait
    }

    private struct Origin {
        /// The one that was used last is used first: the others grow old, and are closed.
        var idle: [(connection: Connection, since: MonotonicInstant)] = []
        var count = 0
        var waiting: [Request] = []
    }

    private let perOrigin: Int
    private let total: Int
    private var origins: [WebOrigin: Origin] = [:]
    private var owners: [Connection: WebOrigin] = [:]
    private var last: Connection = 0

    init(perOrigin: Int, total: Int) {
        self.perOrigin = perOrigin
        self.total = total
    }

    /// Whether it has room for any connection at all.
    var isUsable: Bool { perOrigin > 0 && total > 0 }

    /// A request wants a connection.
    mutating func ask(_ origin: WebOrigin, for request: Request) -> Answer {
        if let used = origins[origin]?.idle.popLast() { return .use(used.connection) }
        if let answer = open(origin) { return answer }
        origins[origin, default: Origin()].waiting.append(request)
        return .wait
    }

    private mutating func open(_ origin: WebOrigin) -> Answer? {
        guard origins[origin, default: Origin()].count < perOrigin else { return nil }
        if owners.count < total { return .open(add(origin)) }
        let oldest = origins.compactMap { $0.value.idle.first }.min { $0.since < $1.since }
        guard let oldest else { return nil }
        remove(oldest.connection)
        return .replace(oldest.connection, by: add(origin))
    }

    private mutating func add(_ origin: WebOrigin) -> Connection {
        last += 1
        owners[last] = origin
        origins[origin, default: Origin()].count += 1
        return last
    }

    private mutating func remove(_ connection: Connection) {
        guard let origin = owners.removeValue(forKey: connection) else { return }
        origins[origin]?.count -= 1
        origins[origin]?.idle.removeAll { $0.connection == connection }
        if let left = origins[origin], left.count == 0, left.waiting.isEmpty { origins[origin] = nil }
    }

    /// A connection has done its work, and may do more: requests that need not wait any more.
    mutating func release(_ connection: Connection, at now: MonotonicInstant) -> [(Request, Answer)] {
        guard let origin = owners[connection] else { return [] }
        if origins[origin]?.waiting.isEmpty == false, let next = origins[origin]?.waiting.removeFirst() {
            return [(next, .use(connection))]
        }
        origins[origin]?.idle.append((connection, now))
        return admit()
    }

    /// A connection is gone: requests that need not wait any more.
    mutating func forget(_ connection: Connection) -> [(Request, Answer)] {
        remove(connection)
        return admit()
    }

    private mutating func admit() -> [(Request, Answer)] {
        var admitted: [(Request, Answer)] = []
        for origin in origins.filter({ !$0.value.waiting.isEmpty }).map(\.key) {
            while origins[origin]?.waiting.isEmpty == false, let answer = open(origin) {
                guard let request = origins[origin]?.waiting.removeFirst() else { break }
                admitted.append((request, answer))
            }
        }
        return admitted
    }

    /// A request does not wait for a connection any more.
    mutating func withdraw(_ request: Request) {
        for origin in Array(origins.keys) { origins[origin]?.waiting.removeAll { $0 == request } }
    }

    /// Idle connections since before `moment`; they stay until they are forgotten.
    func idle(since moment: MonotonicInstant) -> [Connection] {
        origins.values.flatMap { entry in entry.idle.filter { $0.since < moment }.map(\.connection) }
    }
}
