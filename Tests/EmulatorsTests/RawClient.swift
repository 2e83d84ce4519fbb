import Glibc
import LinuxPlatform

/// A client that sends exactly the bytes of a test, and reads until the server closes.
final class RawClient {
    let socket: FileDescriptor

    init(port: Int) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let raw = try retryingOnInterrupt { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
        socket = FileDescriptor(owning: raw)
        _ = try retryingOnInterrupt {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        // A server that never answers must fail the test, not hang it.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            done += try bytes.withUnsafeBytes { pointer in
                try retryingOnInterrupt {
                    Glibc.send(socket.rawValue, pointer.baseAddress?.advanced(by: done), bytes.count - done, 0x4000)
                }
            }
        }
    }

    func finishSending() { shutdown(socket.rawValue, Int32(SHUT_WR)) }

    /// Up to `limit` bytes, as many as come until the server finishes.
    ///
    /// - Throws: `ECONNRESET` when it resets.
    func receive(limit: Int = .max) throws -> [UInt8] {
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while all.count < limit {
            let count = try piece.withUnsafeMutableBytes { pointer in
                try retryingOnInterrupt {
                    recv(socket.rawValue, pointer.baseAddress, min(pointer.count, limit - all.count), 0)
                }
            }
            if count == 0 { break }
            all += piece[..<count]
        }
        return all
    }

    func receiveText() throws -> String { String(decoding: try receive(), as: UTF8.self) }

    /// Sends one request, says that it was the last, and returns everything that came back.
    static func exchange(_ port: Int, _ request: String, body: [UInt8] = []) throws -> String {
        let client = try RawClient(port: port)
        try client.send(Array(request.utf8) + body)
        client.finishSending()
        return try client.receiveText()
    }
}
