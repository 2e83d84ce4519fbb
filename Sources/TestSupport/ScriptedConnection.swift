import Glibc
package import LinuxPlatform

/// A request as a `ScriptedServer` read it.
package struct RecordedRequest: Sendable {
    package var method: String
    /// As it stood in the request line: usually path and query.
    package var target: String
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// Which connection it came on, counted from 0.
    package var connection: Int

    /// The first value of the header; names compare without case.
    package subscript(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    /// The range of `Range: bytes=a-b`, the end not included.
    package var range: Range<Int>? {
        guard let value = self["range"], value.hasPrefix("bytes=") else { return nil }
        let ends = value.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else { return nil }
        return first..<last + 1
    }
}

/// A reply for `ScriptedConnection.reply`.
package struct ScriptedReply: Sendable {
    package var status: Int
    package var headers: [(String, String)]
    package var body: [UInt8]

    package init(_ status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(_ status: Int, headers: [(String, String)] = [], text: String) {
        self.init(status, headers: headers, body: Array(text.utf8))
    }
}

/// The server's end of one connection, for a script to play on. Used by the script's thread alone.
///
/// Reads and writes give up after `Gate.patience`.
package final class ScriptedConnection {
    package static let maximumHead = 1 << 20
    /// Which connection of the server it is, counted from 0.
    package let index: Int
    private let socket: Int32
    private let record: (RecordedRequest) -> Void
    private let closing: () -> Void
    private var unread: [UInt8] = []
    private var isOpen = true

    init(
        index: Int,
        socket: Int32,
        record: @escaping (RecordedRequest) -> Void,
        closing: @escaping () -> Void
    ) {
        self.index = index
        self.socket = socket
        self.record = record
        self.closing = closing
    }

    /// Reads a request and, by its Content-Length, its body; nil when the client has closed.
    package func readRequest() throws(Errno) -> RecordedRequest? {
        guard var request = try readHead() else { return nil }
        request.body = try readBody(request["content-length"].flatMap { Int($0) } ?? 0)
        record(request)
        return request
    }

    /// Reads a request's head and leaves its body unread; nil when the client has closed. Not recorded.
    package func readHead() throws(Errno) -> RecordedRequest? {
        var scanned = 0
        while true {
            if let end = endOfHead(from: max(0, scanned - 3)) {
                let head = String(decoding: unread[..<end], as: UTF8.self)
                unread.removeFirst(end)
                return parsed(head)
            }
            scanned = unread.count
            guard scanned < Self.maximumHead else { throw .invalidArgument }
            guard try receiveMore() else { return nil }
        }
    }

    /// Reads bytes of a request's body; fewer when the client closes first.
    package func readBody(_ count: Int) throws(Errno) -> [UInt8] {
        while unread.count < count, try receiveMore() {}
        let body = Array(unread.prefix(count))
        unread.removeFirst(body.count)
        return body
    }

    /// Reads and forgets until the client closes its side or resets the connection.
    package func waitForClose() throws(Errno) {
        do throws(Errno) {
            while try receiveMore() { unread.removeAll(keepingCapacity: true) }
        } catch  where error.code == ECONNRESET {}
    }

    /// Sends raw bytes.
    package func write(_ bytes: [UInt8]) throws(Errno) { try sendAll(bytes[...], to: socket) }

    /// Sends raw text.
    package func write(_ text: String) throws(Errno) { try write(Array(text.utf8)) }

    /// Sends a whole reply with its Content-Length, unless the headers hold one; the connection stays.
    package func reply(_ reply: ScriptedReply) throws(Errno) {
        var head = "HTTP/1.1 \(reply.status) Scripted\r\n"
        if !reply.headers.contains(where: { $0.0.lowercased() == "content-length" }) {
            head += "Content-Length: \(reply.body.count)\r\n"
        }
        for (name, value) in reply.headers { head += "\(name): \(value)\r\n" }
        try write(Array((head + "\r\n").utf8) + reply.body)
    }

    package func reply(_ status: Int, headers: [(String, String)] = [], text: String = "") throws(Errno) {
        try reply(ScriptedReply(status, headers: headers, text: text))
    }

    /// Passes bytes both ways between the client and a port of 127.0.0.1 until one of them closes: a proxy's tunnel.
    package func tunnel(to port: UInt16) throws(Errno) {
        let other = try connectedSocket(to: port)
        defer { close(other) }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var ends = [socket, other].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while true {
            guard try retryingOnInterrupt({ poll(&ends, 2, Int32(Gate.patience.inSeconds * 1000)) }) > 0 else {
                throw .timedOut
            }
            for index in 0..<2 where ends[index].revents != 0 {
                let count = try retryingOnInterrupt { recv(ends[index].fd, &buffer, buffer.count, 0) }
                if count == 0 { return }
                try sendAll(buffer[..<count], to: ends[1 - index].fd)
            }
        }
    }

    /// Closes with a reset: the client sees the connection lost, whatever it still had to read.
    package func reset() {
        var setting = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &setting, socklen_t(MemoryLayout<linger>.size))
        finish()
    }

    /// Closes in an orderly way. Happens by itself when the script returns.
    package func finish() {
        guard isOpen else { return }
        isOpen = false
        closing()
        close(socket)
    }

    /// Reads once; false at the end.
    private func receiveMore() throws(Errno) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = try retryingOnInterrupt { recv(socket, &buffer, buffer.count, 0) }
        unread.append(contentsOf: buffer.prefix(count))
        return count > 0
    }

    private func endOfHead(from start: Int) -> Int? {
        guard unread.count >= start + 4 else { return nil }
        for index in start...(unread.count - 4) where unread[index..<index + 4].elementsEqual("\r\n\r\n".utf8) {
            return index + 4
        }
        return nil
    }

    private func parsed(_ head: String) -> RecordedRequest {
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: true)
        let first = lines.isEmpty ? [] : lines.removeFirst().split(separator: " ")
        let headers = lines.compactMap { line -> (name: String, value: String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return (name: String(line[..<colon]), value: String(value))
        }
        return RecordedRequest(
            method: first.first.map(String.init) ?? "",
            target: first.count > 1 ? String(first[1]) : "",
            headers: headers,
            body: [],
            connection: index
        )
    }
}

private func sendAll(_ bytes: ArraySlice<UInt8>, to socket: Int32) throws(Errno) {
    var rest = bytes
    while !rest.isEmpty {
        let count = try retryingOnInterrupt {
            rest.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        }
        rest = rest.dropFirst(count)
    }
}
