import CLinux
import Glibc
import LinuxPlatform

/// The blocking socket calls of the server; each retries when a signal interrupts it.
enum Socket {
    /// A listening TCP socket on an IPv4 address.
    ///
    /// - Parameter port: 0 lets the kernel choose.
    static func listen(host: String, port: Int) throws(Errno) -> FileDescriptor {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw .invalidArgument }
        let raw = try retryingOnInterrupt { socket(AF_INET, Int32(SOCK_STREAM.rawValue) | socketCloseOnExec, 0) }
        let descriptor = FileDescriptor(owning: raw)
        setOption(raw, SOL_SOCKET, SO_REUSEADDR, 1)
        _ = try retryingOnInterrupt {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        _ = try retryingOnInterrupt { Glibc.listen(raw, 1024) }
        return descriptor
    }

    /// The port a socket is bound to.
    static func port(of socket: Int32) throws(Errno) -> Int {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = try retryingOnInterrupt {
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    static func accept(_ socket: Int32) throws(Errno) -> Int32 {
        let raw = try retryingOnInterrupt { Glibc.accept(socket, nil, nil) }
        _ = clinux_fcntl(raw, F_SETFD, Int(FD_CLOEXEC))
        setOption(raw, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        return raw
    }

    /// Some bytes into the buffer; 0 when the peer has finished.
    static func receive(_ socket: Int32, _ buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        try retryingOnInterrupt { recv(socket, buffer.baseAddress, buffer.count, 0) }
    }

    /// Sends all of the bytes.
    ///
    /// - Parameter moreFollows: holds the last packet back to be filled up by what follows (`MSG_MORE`).
    static func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, moreFollows: Bool = false) throws(Errno) {
        let flags = Int32(MSG_NOSIGNAL) | (moreFollows ? Int32(MSG_MORE) : 0)
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try retryingOnInterrupt { Glibc.send(socket, rest.baseAddress, rest.count, flags) }
        }
    }

    /// Sends the interim response that a client waits for before it sends a large body (RFC 9110, section 10.1.1).
    static func sendContinue(_ socket: Int32) {
        // A failure shows when the body is read.
        Array("HTTP/1.1 100 Continue\r\n\r\n".utf8).withUnsafeBytes { try? send(socket, $0) }
    }

    /// Sends `count` bytes of a file from the page cache, without copying them through this process (sendfile(2)).
    ///
    /// - Throws: `EIO` when the file ends early.
    static func send(_ socket: Int32, file: Int32, offset: Int, count: Int) throws(Errno) {
        var position = off_t(offset)
        let end = off_t(offset + count)
        while position < end {
            let sent = try retryingOnInterrupt { sendfile(socket, file, &position, Int(end - position)) }
            if sent == 0 { throw .inputOutput }
        }
    }

    /// Waits, unless the peer resets the connection or the server shuts it down first (POLLHUP and POLLERR are always
    /// watched). A peer that only finished sending is waited for: it may read on.
    ///
    /// - Parameter endsWithInput: a peer that finished sending has gone away, as clients do that give a response up.
    /// - Throws: `ENOTCONN` when the connection has ended.
    static func pause(_ socket: Int32, for duration: Duration, endsWithInput: Bool = false) throws(Errno) {
        let clock = SystemTime()
        let end = clock.now().advanced(by: duration)
        while true {
            let left = clock.now().duration(to: end).inNanoseconds
            if left <= 0 { return }
            var watched = pollfd(fd: socket, events: endsWithInput ? peerHasFinished : 0, revents: 0)
            let milliseconds = Int32(clamping: (left + 999_999) / 1_000_000)
            if try retryingOnInterrupt({ poll(&watched, 1, milliseconds) }) > 0 { throw .notConnected }
        }
    }

    /// Makes the coming close(2) send a reset instead of an orderly end.
    static func resetOnClose(_ socket: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    private static func setOption(_ socket: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}

private let socketCloseOnExec = Int32(SOCK_CLOEXEC.rawValue)

// POLLRDHUP of <poll.h>, a GNU extension that Swift's Glibc module lacks.
private let peerHasFinished: Int16 = 0x2000
