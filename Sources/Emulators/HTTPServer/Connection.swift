import Glibc
import LinuxPlatform

/// One connection of a client: requests in order until it ends. Runs on a thread of its own.
struct Connection {
    let socket: Int32
    let server: EmulatorServer.Shared

    /// Serves until the client finishes, a fault breaks the connection, or the server stops.
    ///
    /// The caller closes the socket.
    func run() {
        let input = ConnectionInput(socket: socket)
        while !server.isStopping {
            do throws(HTTPStatus) {
                guard let bytes = try input.nextHead() else { return }
                guard serve(try RequestHead(parsing: bytes), input) else { return }
            } catch {
                let response = EmulatorResponse(error, text: "\(error.reason)\n")
                var writer = ResponseWriter(socket: socket, response: response)
                _ = writer.write(response, withoutBody: false, closes: true)
                return endGently(input)
            }
        }
    }

    /// Answers one request; false when the connection is to end.
    private func serve(_ head: RequestHead, _ input: ConnectionInput) -> Bool {
        let socket = socket
        let body = RequestBody(head.framing, input: input) {
            if head.expectsContinue, !input.hasBufferedBytes { Socket.sendContinue(socket) }
        }
        var request = EmulatorRequest(method: head.method, target: head.target, headers: head.headers, body: body)
        let logged = LoggedRequest(server: server.name, request: request)
        let response = server.respond(to: &request)
        if response.faults.losesReply { finishReading(body) }
        // A body that nobody asked for with 100 Continue will not come: the next bytes are uncertain, so this ends.
        let mayReuse = head.keepsAlive && !(head.expectsContinue && body.isAwaitingContinue)
        var writer = ResponseWriter(socket: socket, response: response)
        var end: ResponseWriter.End = body.faults.resetAt == nil ? .broken : .reset
        let isHead = head.method == "HEAD"
        let number = server.begin(logged, response, sending: isHead ? 0 : response.body.count, body.receivedCount)
        if body.isIntact { end = writer.write(response, withoutBody: isHead, closes: !mayReuse) }
        server.finish(number, sent: writer.bodyCount, end: end)
        switch end {
        case .reset:
            Socket.resetOnClose(socket)
            return false
        case .broken:
            return false
        case .complete:
            if mayReuse, (try? body.drain()) != nil { return true }
            endGently(input)
            return false
        }
    }

    private func finishReading(_ body: RequestBody) { try? body.drain() }

    /// Lets the client read the response before the connection goes: closing with unread input would reset it.
    private func endGently(_ input: ConnectionInput) {
        shutdown(socket, Int32(SHUT_WR))
        let buffer = BufferLease(size: 64 << 10)
        while let count = try? input.read(into: buffer.bytes), count > 0 {}
    }
}
