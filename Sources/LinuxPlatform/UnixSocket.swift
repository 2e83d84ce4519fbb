import CLinux
import Glibc

/// Stream sockets that are files, without waiting: what would wait is nil. Source: unix(7).
package enum UnixSocket {
    /// Bytes of a path that the kernel takes.
    package static let maximumPath = 107

    /// A socket that listens under a name that nobody has yet; only its owner may connect.
    ///
    /// - Throws: `nameTooLong`, `EADDRINUSE` when something has the name, or the `errno` of the call that failed.
    package static func listen(_ path: String, backlog: Int32 = 64) throws(Errno) -> FileDescriptor {
        let socket = try make()
        try withAddress(path) { address, length throws(Errno) in
            _ = try retryingOnInterrupt { bind(socket.rawValue, address, length) }
        }
        // Nobody can connect before listen(2).
        _ = try retryingOnInterrupt { chmod(path, 0o600) }
        _ = try retryingOnInterrupt { Glibc.listen(socket.rawValue, backlog) }
        return socket
    }

    /// A connection to whoever listens there.
    ///
    /// - Throws: `ECONNREFUSED` when the one that listened is gone, `wouldBlock` when too many wait already, or the `errno`
    ///   of the call that failed.
    package static func connect(_ path: String) throws(Errno) -> FileDescriptor {
        let socket = try make()
        try withAddress(path) { address, length throws(Errno) in
            _ = try retryingOnInterrupt { Glibc.connect(socket.rawValue, address, length) }
        }
        return socket
    }

    /// Whether a process listens there; nil when there is no such file.
    package static func isAlive(_ path: String) throws(Errno) -> Bool? {
        do throws(Errno) {
            _ = try connect(path)
            return true
        } catch {
            switch error.code {
            case ECONNREFUSED: return false
            case EAGAIN: return true
            case ENOENT: return nil
            default: throw error
            }
        }
    }

    /// The next connection; nil when none waits.
    package static func accept(_ listener: borrowing FileDescriptor) throws(Errno) -> FileDescriptor? {
        do throws(Errno) {
            let raw = try retryingOnInterrupt { Glibc.accept(listener.rawValue, nil, nil) }
            let socket = FileDescriptor(owning: raw)
            try prepare(socket)
            return socket
        } catch {
            // ECONNABORTED: it was there and went.
            if error == .wouldBlock || error.code == ECONNABORTED { return nil }
            throw error
        }
    }

    /// Some bytes into the buffer; 0 when the peer has finished, nil when nothing is there yet.
    package static func receive(
        _ socket: borrowing FileDescriptor,
        _ buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int? {
        do throws(Errno) {
            return try retryingOnInterrupt { recv(socket.rawValue, buffer.baseAddress, buffer.count, 0) }
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// How many of the bytes went; nil when none can go now. A peer that is gone is an error and no signal.
    package static func send(_ socket: borrowing FileDescriptor, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int?
    {
        do throws(Errno) {
            return try retryingOnInterrupt {
                Glibc.send(socket.rawValue, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// The user whose process is at the other end, as the kernel saw it when the connection was made.
    package static func peerUser(_ socket: borrowing FileDescriptor) throws(Errno) -> UInt32 {
        UInt32(truncatingIfNeeded: try retryingOnInterrupt { clinux_peer_user(socket.rawValue) })
    }

    /// Two ends of one connection.
    package static func pair() throws(Errno) -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        _ = try retryingOnInterrupt { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | closeOnExec, 0, &ends) }
        return (ends[0], ends[1])
    }

    private static let closeOnExec = Int32(SOCK_CLOEXEC.rawValue)

    private static func make() throws(Errno) -> FileDescriptor {
        let raw = try retryingOnInterrupt { Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | closeOnExec, 0) }
        let socket = FileDescriptor(owning: raw)
        try prepare(socket)
        return socket
    }

    private static func prepare(_ socket: borrowing FileDescriptor) throws(Errno) {
        let raw = socket.rawValue
        _ = try retryingOnInterrupt { clinux_fcntl(raw, F_SETFD, Int(FD_CLOEXEC)) }
        _ = try retryingOnInterrupt { clinux_fcntl(raw, F_SETFL, Int(O_NONBLOCK)) }
    }

    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Errno) -> Void
    ) throws(Errno) {
        guard (1...maximumPath).contains(path.utf8.count) else { throw .nameTooLong }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        var failure: Errno?
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                do throws(Errno) {
                    try body(address, socklen_t(MemoryLayout<sockaddr_un>.size))
                } catch {
                    failure = error
                }
            }
        }
        if let failure { throw failure }
    }
}

/// Attributes of files that are text.
package enum ExtendedAttribute {
    /// The value; nil when the file has no such attribute, or its filesystem none at all. Blocks while a filesystem that
    /// does not answer holds it up.
    ///
    /// - Throws: the `errno` of getxattr(2).
    package static func text(_ name: String, of path: String) throws(Errno) -> String? {
        var value = [UInt8](repeating: 0, count: 4096)
        do throws(Errno) {
            let count = try retryingOnInterrupt { clinux_get_attribute(path, name, &value, value.count) }
            return String(decoding: value.prefix(count), as: UTF8.self)
        } catch {
            if error == .noData || error == .notSupported { return nil }
            throw error
        }
    }
}
