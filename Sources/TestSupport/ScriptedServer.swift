import Glibc
package import LinuxPlatform

/// A TCP server on loopback that plays a script on every connection: the peer of HTTP tests, good or bad.
///
/// The script runs on a thread of the connection and says byte for byte what happens, and in which order, with `Gate`s
/// where it must wait for the test. When it returns, the connection is closed.
///
///     let server = try ScriptedServer { connection in
///         _ = try connection.readRequest()
///         try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
///         connection.reset()
///     }
///
/// It lives as long as the value; `stop` ends it earlier.
package final class ScriptedServer: Sendable {
    package typealias Script = @Sendable (ScriptedConnection) throws -> Void

    package let port: UInt16
    private let listener: Listener

    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// - Parameter script: plays one connection; what it throws ends that connection only.
    /// - Throws: the error number of the socket calls.
    package init(_ script: @escaping Script) throws(Errno) {
        let listener = try Listener()
        self.listener = listener
        port = listener.port
        try NamedThread(name: "scripted") { listener.acceptAll(script) }.detach()
    }

    /// A server that answers each request of each connection, one after the other, until the client closes.
    package convenience init(answering answer: @escaping @Sendable (RecordedRequest) -> ScriptedReply) throws(Errno) {
        try self.init { connection in
            while let request = try connection.readRequest() { try connection.reply(answer(request)) }
        }
    }

    deinit { stop() }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    package var url: String { "http://127.0.0.1:\(port)" }
    /// What `ScriptedConnection.readRequest` read so far, in order of arrival.
    package var requests: [RecordedRequest] { listener.state.withLock { $0.requests } }
    /// Connections accepted so far.
    package var connections: Int { listener.state.withLock { $0.accepted } }

    /// Accepts no more connections and cuts those that are open. Later calls do nothing.
    package func stop() { listener.stop() }
}

/// The listening socket and what it saw; shared with the threads, which may outlive the server for a moment.
private final class Listener: Sendable {
    struct State {
        var requests: [RecordedRequest] = []
        var accepted = 0
        var open: Set<Int32> = []
        var isStopped = false
    }

    let state = Lock(State())
    let port: UInt16
    private let socket: Int32

    init() throws(Errno) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = try retryingOnInterrupt { Glibc.socket(AF_INET, type, 0) }
        self.socket = socket
        var address = loopbackAddress(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        do throws(Errno) {
            _ = try retryingOnInterrupt { withSocketAddress(&address) { bind(socket, $0, length) } }
            _ = try retryingOnInterrupt { listen(socket, 1024) }
            _ = try retryingOnInterrupt { withSocketAddress(&address) { getsockname(socket, $0, &length) } }
        } catch {
            close(socket)
            throw error
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(socket) }

    func acceptAll(_ script: @escaping ScriptedServer.Script) {
        while let peer = try? retryingOnInterrupt({ accept(socket, nil, nil) }) {
            // A child process that inherits the descriptor would keep the connection open.
            _ = fcntl(peer, F_SETFD, FD_CLOEXEC)
            let index = state.withLock { state -> Int? in
                if state.isStopped { return nil }
                state.open.insert(peer)
                state.accepted += 1
                return state.accepted - 1
            }
            guard let index else {
                close(peer)
                return
            }
            let thread = try? NamedThread(name: "scripted-\(index)") { self.play(script, index, peer) }
            thread?.detach()
        }
    }

    private func play(_ script: ScriptedServer.Script, _ index: Int, _ peer: Int32) {
        var patience = timeval(tv_sec: Int(Gate.patience.inSeconds), tv_usec: 0)
        setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var yes: Int32 = 1
        setsockopt(peer, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        let connection = ScriptedConnection(
            index: index,
            socket: peer,
            record: { request in self.state.withLock { $0.requests.append(request) } },
            // Forgotten before it is closed: the number may be another connection's a moment later.
            closing: { self.state.withLock { _ = $0.open.remove(peer) } }
        )
        // A script that fails because the client went away is what many tests are about.
        try? script(connection)
        connection.finish()
    }

    func stop() {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            // Wakes accept(2) and the scripts' reads; never blocks.
            shutdown(socket, Int32(SHUT_RDWR))
            for peer in state.open { shutdown(peer, Int32(SHUT_RDWR)) }
        }
    }
}

private func loopbackAddress(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}

/// A socket connected to a port of 127.0.0.1, the caller's to close.
func connectedSocket(to port: UInt16) throws(Errno) -> Int32 {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = try retryingOnInterrupt { Glibc.socket(AF_INET, type, 0) }
    var address = loopbackAddress(port: port)
    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
    do throws(Errno) {
        _ = try retryingOnInterrupt { withSocketAddress(&address) { connect(socket, $0, length) } }
    } catch {
        close(socket)
        throw error
    }
    return socket
}

private func withSocketAddress<Result>(
    _ address: inout sockaddr_in,
    _ body: (UnsafeMutablePointer<sockaddr>) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
}
