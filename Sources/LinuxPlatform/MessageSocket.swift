import CLinux
import Glibc

/// One end of a connection between two processes of this machine that keeps messages apart and can carry descriptors.
///
/// Source: unix(7), SOCK_SEQPACKET and SCM_RIGHTS.
package struct MessageSocket: ~Copyable, Sendable {
    /// What has come.
    package struct Message: Sendable {
        package let bytes: [UInt8]
        /// Open, and the receiver's to close; nil when none came with it.
        package let descriptor: Int32?
    }

    /// A message has at most so many bytes.
    package static let maximumBytes = 16 << 10

    package let descriptor: FileDescriptor

    /// Takes over an end that another process has made.
    package init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// A new connection, both ends closed on exec.
    ///
    /// - Parameter far: gets the other end.
    /// - Throws: the `errno` of socketpair(2).
    package init(connectedTo far: inout FileDescriptor?) throws(Errno) {
        var ends: [Int32] = [-1, -1]
        _ = try retryingOnInterrupt { clinux_message_sockets(&ends) }
        descriptor = FileDescriptor(owning: ends[0])
        far = FileDescriptor(owning: ends[1])
    }

    /// Sends a message, and with it maybe a copy of a descriptor.
    ///
    /// - Parameters:
    ///   - bytes: 1 to `maximumBytes`.
    ///   - passing: an open descriptor; borrowed.
    /// - Throws: the `errno` of sendmsg(2); `EPIPE` when the other end is gone.
    package func send(_ bytes: [UInt8], passing: Int32 = -1) throws(Errno) {
        precondition(!bytes.isEmpty && bytes.count <= Self.maximumBytes)
        let raw = descriptor.rawValue
        _ = try retryingOnInterrupt { clinux_send_message(raw, bytes, bytes.count, passing) }
    }

    /// Whether `receive` would give a message without waiting.
    package var hasMessage: Bool {
        var byte: UInt8 = 0
        let raw = descriptor.rawValue
        return recv(raw, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) > 0
    }

    /// Waits for the next message; nil at the end of the connection.
    ///
    /// - Throws: the `errno` of recvmsg(2).
    package func receive() throws(Errno) -> Message? {
        var bytes = [UInt8](repeating: 0, count: Self.maximumBytes)
        var passed: Int32 = -1
        let raw = descriptor.rawValue
        let count = try retryingOnInterrupt { clinux_receive_message(raw, &bytes, bytes.count, &passed) }
        guard count > 0 else { return nil }
        return Message(bytes: Array(bytes[..<count]), descriptor: passed >= 0 ? passed : nil)
    }
}
