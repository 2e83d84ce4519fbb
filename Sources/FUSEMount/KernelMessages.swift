import CLinux

// The few of the kernel's messages that libfuse 3.14 does not know how to read or write.
// Source: include/uapi/linux/fuse.h, protocol 7.40. All numbers are in the machine's byte order.

/// What stands at the beginning of every request: fuse_in_header (40 bytes).
struct RequestHeader: Hashable {
    static let size = 40

    let opcode: UInt32
    /// The number that the reply repeats, with the mark of a request that was sent again.
    let unique: UInt64
    let node: UInt64

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.size else { return nil }
        opcode = bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
        unique = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        node = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
    }

    init(opcode: UInt32, unique: UInt64, node: UInt64) {
        self.opcode = opcode
        self.unique = unique
        self.node = node
    }

    /// The kernel had sent it before, to a process that did not answer.
    var isResent: Bool { unique & clinux_fuse_unique_resend != 0 }
    /// The same in whatever way it was sent.
    var number: UInt64 { Self.number(unique) }

    static func number(_ unique: UInt64) -> UInt64 { unique & ~clinux_fuse_unique_resend }

    /// Whether the kernel waits for a reply.
    var isAnswered: Bool {
        switch opcode {
        case clinux_fuse_forget, clinux_fuse_batch_forget, clinux_fuse_interrupt, clinux_fuse_notify_reply: false
        default: true
        }
    }
}

/// Messages that are ours alone, in the form in which they are written: fuse_out_header and what follows.
enum ReplyMessage {
    static let headerSize = 16

    /// An answer without content: 0, or an error number.
    static func error(_ error: Int32, to unique: UInt64) -> [UInt8] { message(-error, unique, []) }

    /// An answer to OPEN.
    static func opened(flags: UInt32, backing: Int32, to unique: UInt64) -> [UInt8] {
        var content = [UInt8](repeating: 0, count: OpenReply.size)
        content.withUnsafeMutableBytes {
            $0.storeBytes(of: flags, toByteOffset: 8, as: UInt32.self)
            $0.storeBytes(of: backing, toByteOffset: 12, as: Int32.self)
        }
        return message(0, unique, content)
    }

    /// Asks the kernel to send again whatever it has no reply to.
    static let resend = message(clinux_fuse_notify_resend, 0, [])

    private static func message(_ error: Int32, _ unique: UInt64, _ content: [UInt8]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: headerSize) + content
        let size = UInt32(bytes.count)
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: size, toByteOffset: 0, as: UInt32.self)
            $0.storeBytes(of: error, toByteOffset: 4, as: Int32.self)
            $0.storeBytes(of: unique, toByteOffset: 8, as: UInt64.self)
        }
        return bytes
    }
}

/// The kernel's first request, as far as flags are concerned that libfuse does not know.
struct InitRequest: Hashable {
    /// fuse_in_header (40 bytes), then fuse_init_in: major, minor, max_readahead, flags, flags2.
    private enum Offset {
        static let opcode = 4
        static let unique = 8
        static let flags = 52
        static let flags2 = 56
    }

    /// Its number, which the reply repeats. Never 0.
    let unique: UInt64
    /// The kernel would read files by itself. It may still refuse each of them.
    let offersPassthrough: Bool
    /// The kernel can send requests again.
    let offersResend: Bool
    /// The kernel can leave it to us to take set-user-ID bits from a file that is written to. Linux 5.11.
    let offersPrivilegeClearing: Bool

    /// Nil when it is another request. A kernel older than 5.17 sends no second word of flags.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Offset.flags + 4,
            bytes.loadUnaligned(fromByteOffset: Offset.opcode, as: UInt32.self) == clinux_fuse_init
        else { return nil }
        unique = bytes.loadUnaligned(fromByteOffset: Offset.unique, as: UInt64.self)
        let flags = bytes.loadUnaligned(fromByteOffset: Offset.flags, as: UInt32.self)
        offersPrivilegeClearing = flags & clinux_fuse_handle_killpriv_v2 != 0
        guard flags & clinux_fuse_init_ext != 0, bytes.count >= Offset.flags2 + 4 else {
            offersPassthrough = false
            offersResend = false
            return
        }
        let more = bytes.loadUnaligned(fromByteOffset: Offset.flags2, as: UInt32.self)
        offersPassthrough = more & clinux_fuse_passthrough_high != 0
        offersResend = more & clinux_fuse_has_resend_high != 0
    }
}

/// The reply to INIT, changed on its way to the kernel.
enum InitReply {
    /// fuse_out_header (16 bytes) and fuse_init_out (64).
    static let size = 80

    private enum Offset {
        static let length = 0
        static let error = 4
        static let unique = 8
        static let major = 16
        static let flags = 28
        static let flags2 = 48
        static let maximumStackDepth = 52
    }

    /// Files may lie on filesystems that are on no other: with 2 nothing could be stacked on the mount any more.
    private static let stackDepth: UInt32 = 1

    /// What libfuse cannot agree to: both words of flags, the second above the first.
    struct Agreement: OptionSet {
        let rawValue: UInt64
        static let passthrough = Self(rawValue: UInt64(clinux_fuse_passthrough_high) << 32)
        static let resend = Self(rawValue: UInt64(clinux_fuse_has_resend_high) << 32)
        /// Else the kernel asks for a file's capabilities before each write(2) to it.
        static let privilegeClearing = Self(rawValue: UInt64(clinux_fuse_handle_killpriv_v2))
    }

    /// Says yes to more than libfuse does.
    ///
    /// - Parameter unique: of the request.
    /// - Returns: what was agreed to: nothing, with nothing changed, when this is another reply or an error, and no
    ///   passthrough with a write-back cache, with which the kernel does none.
    static func agree(
        _ wanted: Agreement,
        in reply: UnsafeMutableRawBufferPointer,
        unique: UInt64
    ) -> Agreement {
        func load(_ offset: Int) -> UInt32 { reply.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
        guard reply.count == size, load(Offset.length) == UInt32(size), load(Offset.error) == 0,
            reply.loadUnaligned(fromByteOffset: Offset.unique, as: UInt64.self) == unique, load(Offset.major) == 7
        else { return [] }
        let hasWriteBack = load(Offset.flags) & clinux_fuse_writeback_cache != 0
        let agreed = hasWriteBack ? wanted.subtracting(.passthrough) : wanted
        guard !agreed.isEmpty else { return [] }
        let second = UInt32(agreed.rawValue >> 32)
        let first = UInt32(truncatingIfNeeded: agreed.rawValue) | (second == 0 ? 0 : clinux_fuse_init_ext)
        reply.storeBytes(of: load(Offset.flags) | first, toByteOffset: Offset.flags, as: UInt32.self)
        reply.storeBytes(of: load(Offset.flags2) | second, toByteOffset: Offset.flags2, as: UInt32.self)
        if agreed.contains(.passthrough) {
            reply.storeBytes(of: stackDepth, toByteOffset: Offset.maximumStackDepth, as: UInt32.self)
        }
        return agreed
    }
}

/// fuse_open_out: what an OPEN is answered with.
enum OpenReply {
    static let size = 16

    /// The kernel shall read the file by itself. Any other flag that has to do with caching makes the open fail (EIO).
    ///
    /// - Parameter reply: `size` bytes; all of them are written.
    static func passthrough(_ backing: BackingID, into reply: UnsafeMutableRawBufferPointer) {
        precondition(reply.count == size)
        // The handle: an inode's number is all that we need (see `Filesystem`).
        reply.storeBytes(of: 0, toByteOffset: 0, as: UInt64.self)
        let flags = clinux_fopen_passthrough | clinux_fopen_noflush
        reply.storeBytes(of: flags, toByteOffset: 8, as: UInt32.self)
        reply.storeBytes(of: backing.number, toByteOffset: 12, as: Int32.self)
    }

    /// What a reply of this form says; nil where it has another.
    static func read(_ reply: UnsafeRawBufferPointer) -> (flags: UInt32, backing: Int32)? {
        guard reply.count == size else { return nil }
        let flags = reply.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        let isPassthrough = flags & clinux_fopen_passthrough != 0
        return (flags, isPassthrough ? reply.loadUnaligned(fromByteOffset: 12, as: Int32.self) : 0)
    }
}
