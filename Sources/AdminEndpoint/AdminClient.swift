import Glibc
package import LinuxPlatform

/// Why a daemon could not be asked.
package enum AdminClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nobody listens there (any more), or it may not be connected to.
    case unreachable(String, Errno)
    case timedOut(String)
    /// What came is no reply.
    case badReply(String)

    package var description: String {
        switch self {
        case .unreachable(let path, let error): "no daemon answers at \(path): \(error)"
        case .timedOut(let path): "the daemon at \(path) did not answer in time"
        case .badReply(let path): "what answers at \(path) is no daemon of Penstock's"
        }
    }
}

/// Asks a daemon over its socket. Blocks the calling thread, never past the deadline.
package enum AdminClient {
    /// A reply may have so many bytes.
    static let maximumReply = 64 << 20

    /// Sends one request.
    ///
    /// - Parameter patience: for all of it.
    package static func ask(
        _ socketPath: String,
        _ request: AdminRequest,
        patience: Duration = .seconds(10)
    ) throws(AdminClientError) -> (status: Int, body: [UInt8]) {
        let deadline = SystemTime().now().advanced(by: patience)
        let bytes: [UInt8]
        do throws(Errno) {
            let socket = try UnixSocket.connect(socketPath)
            try send(wire(request), on: socket, until: deadline)
            bytes = try receive(on: socket, until: deadline)
        } catch {
            throw error == .timedOut ? .timedOut(socketPath) : .unreachable(socketPath, error)
        }
        guard let reply = parse(bytes) else { throw .badReply(socketPath) }
        return reply
    }

    private static func wire(_ request: AdminRequest) -> [UInt8] {
        var head = "\(request.method) \(request.path) HTTP/1.1\r\nHost: penstock\r\nConnection: close\r\n"
        if !request.body.isEmpty {
            head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: \(request.body.count)\r\n"
        }
        return Array((head + "\r\n").utf8) + request.body
    }

    private static func send(
        _ bytes: [UInt8],
        on socket: borrowing FileDescriptor,
        until deadline: MonotonicInstant
    ) throws(Errno) {
        var done = 0
        while done < bytes.count {
            var failure: Errno?
            let sent = bytes[done...].withUnsafeBytes { rest -> Int? in
                do throws(Errno) { return try UnixSocket.send(socket, rest) } catch {
                    failure = error
                    return nil
                }
            }
            // Whoever refuses early does not read on: its reply is what counts.
            if failure?.code == EPIPE { return }
            if let failure { throw failure }
            done += sent ?? 0
            if sent == nil { try wait(for: Int16(POLLOUT), on: socket, until: deadline) }
        }
    }

    private static func receive(
        on socket: borrowing FileDescriptor,
        until deadline: MonotonicInstant
    ) throws(Errno) -> [UInt8] {
        let piece = BufferLease(size: 64 << 10)
        var bytes: [UInt8] = []
        while bytes.count <= maximumReply {
            guard let count = try UnixSocket.receive(socket, piece.bytes) else {
                try wait(for: Int16(POLLIN), on: socket, until: deadline)
                continue
            }
            if count == 0 { break }
            bytes += piece.bytes[..<count]
        }
        return bytes
    }

    private static func wait(
        for events: Int16,
        on socket: borrowing FileDescriptor,
        until deadline: MonotonicInstant
    ) throws(Errno) {
        let left = SystemTime().now().duration(to: deadline).inNanoseconds
        guard left > 0 else { throw .timedOut }
        var watched = pollfd(fd: socket.rawValue, events: events, revents: 0)
        _ = try retryingOnInterrupt { poll(&watched, 1, Int32(clamping: left / 1_000_000 + 1)) }
    }

    /// Status and body of a whole reply of `AdminServer`.
    static func parse(_ bytes: [UInt8]) -> (status: Int, body: [UInt8])? {
        let prefix = Array("HTTP/1.1 ".utf8)
        guard bytes.count <= maximumReply, bytes.starts(with: prefix), bytes.count >= prefix.count + 3,
            let status = Int(String(decoding: bytes[prefix.count..<prefix.count + 3], as: UTF8.self)), status >= 100
        else { return nil }
        let end = Array("\r\n\r\n".utf8)
        var index = bytes.startIndex
        while let found = bytes[index...].firstIndex(of: 0x0D) {
            if bytes[found...].starts(with: end) {
                let head = String(decoding: bytes[..<found], as: UTF8.self).lowercased()
                let body = Array(bytes[(found + end.count)...])
                guard let length = contentLength(head), length == body.count else { return nil }
                return (status, body)
            }
            index = found + 1
        }
        return nil
    }

    private static func contentLength(_ head: String) -> Int? {
        for line in head.split(whereSeparator: \.isNewline) where line.hasPrefix("content-length:") {
            return Int(line.dropFirst("content-length:".count).filter { $0 != " " })
        }
        return nil
    }
}
