import Glibc
package import LinuxPlatform

/// A small HTTP/1.1 server on blocking sockets: one named thread accepts, and one serves each connection.
///
/// Plain HTTP on loopback, for emulators: every byte and every fault of the wire is in its hands, and files go out by
/// sendfile(2). Not a server for the internet.
package final class EmulatorServer: Sendable {
    /// Answers a request. Called on the thread of the connection; may block.
    package typealias Handler = @Sendable (inout EmulatorRequest) -> EmulatorResponse

    /// The port it listens on: the chosen one when 0 was asked for.
    package let port: Int
    private let shared: Shared
    private let listener: FileDescriptor
    private let acceptor: NamedThread
    private let stopped = Lock(false)

    /// Listens, and serves from now until `stop()`.
    ///
    /// - Parameters:
    ///   - name: a short word for thread names, the request log and fault rules: `gcs`, `hub`.
    ///   - port: 0 for any free one.
    ///   - control: the faults, log and counters; may be shared by several servers.
    /// - Throws: the `errno` of bind(2) and its like.
    package init(
        name: String,
        host: String = "127.0.0.1",
        port: Int = 0,
        control: EmulatorControl = EmulatorControl(),
        handler: @escaping Handler
    ) throws(Errno) {
        let listener = try Socket.listen(host: host, port: port)
        self.port = try Socket.port(of: listener.rawValue)
        let shared = Shared(name: name, control: control, handler: handler)
        let socket = listener.rawValue
        acceptor = try NamedThread(name: "\(name)-accept") { shared.acceptConnections(on: socket) }
        self.listener = listener
        self.shared = shared
        self.host = host
    }

    private let host: String

    /// The scheme, host and port that clients are given.
    package var baseURL: String { "http://\(host == "0.0.0.0" ? "127.0.0.1" : host):\(port)" }

    /// Ends every connection, in the middle of a response too, and returns when all threads have ended.
    package func stop() {
        let isFirst = stopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard isFirst else { return }
        shared.beginStopping()
        // Makes accept(2) return; close(2) would not.
        shutdown(listener.rawValue, Int32(SHUT_RDWR))
        acceptor.join()
        shared.joinConnections()
    }

    deinit { stop() }
}

extension EmulatorServer {
    /// What the threads of a server share.
    final class Shared: Sendable {
        private struct State {
            var isStopping = false
            var nextConnection = 0
            var sockets: [Int: Int32] = [:]
            var threads: [Int: NamedThread] = [:]
            var ended: [Int] = []
        }

        let name: String
        private let control: EmulatorControl
        private let handler: Handler
        private let state = Lock(State())

        init(name: String, control: EmulatorControl, handler: @escaping Handler) {
            self.name = name
            self.control = control
            self.handler = handler
        }

        var isStopping: Bool { state.withLock { $0.isStopping } }

        /// Answers the admin routes itself and applies the fault rules around the handler.
        func respond(to request: inout EmulatorRequest) -> EmulatorResponse {
            control.respond(to: &request, server: name, handler: handler)
        }

        /// Enters a request into the log before its response is sent; nil for admin routes.
        func begin(_ logged: LoggedRequest, _ response: EmulatorResponse, sending: Int, _ received: Int) -> Int? {
            control.begin(logged, response, sending: sending, received: received)
        }

        func finish(_ number: Int?, sent: Int, end: ResponseWriter.End) {
            if let number { control.finish(number, sent: sent, isWhole: end == .complete) }
        }

        func acceptConnections(on listener: Int32) {
            while !isStopping {
                reapEnded()
                do throws(Errno) {
                    start(try Socket.accept(listener))
                } catch {
                    if isStopping { return }
                    // Out of descriptors or of threads: the clients that are there must finish first.
                    var delay = timespec(tv_sec: 0, tv_nsec: 10_000_000)
                    nanosleep(&delay, nil)
                }
            }
        }

        private func start(_ socket: Int32) {
            let number = state.withLock { state -> Int in
                state.nextConnection += 1
                state.sockets[state.nextConnection] = socket
                return state.nextConnection
            }
            do throws(Errno) {
                let thread = try NamedThread(name: "\(name)-\(number)") {
                    Connection(socket: socket, server: self).run()
                    self.end(number, socket)
                }
                state.withLock { $0.threads[number] = thread }
            } catch {
                end(number, socket)
            }
        }

        /// Forgets the socket before it is closed, so that stopping never touches a number that was given anew.
        private func end(_ number: Int, _ socket: Int32) {
            state.withLock { state in
                state.sockets[number] = nil
                state.ended.append(number)
            }
            close(socket)
        }

        private func reapEnded() {
            let threads = state.withLock { state -> [NamedThread] in
                let known = state.ended.filter { state.threads[$0] != nil }
                state.ended.removeAll { known.contains($0) }
                return known.compactMap { state.threads.removeValue(forKey: $0) }
            }
            threads.forEach { $0.join() }
        }

        func beginStopping() {
            state.withLock { state in
                state.isStopping = true
                // shutdown(2) does not block; under the lock no socket here can have been closed.
                for socket in state.sockets.values { shutdown(socket, Int32(SHUT_RDWR)) }
            }
        }

        func joinConnections() {
            let threads = state.withLock { state in
                // A connection accepted while stopping began.
                for socket in state.sockets.values { shutdown(socket, Int32(SHUT_RDWR)) }
                defer { state.threads = [:] }
                return Array(state.threads.values)
            }
            threads.forEach { $0.join() }
        }
    }
}
