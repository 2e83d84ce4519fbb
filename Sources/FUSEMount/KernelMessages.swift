import CLinux

// The few of the kernel's messages that libfuse 3.14 does not know how to read or write.
// Source: include/uapi/linux/fuse.h, protocol 7.40. All numbers are in the machine's byte order.

/// The kernel's first request, as far as passthrough is concerned.
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

    /// Nil when it is another request. A kernel older than 5.17 sends no second word of flags.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Offset.flags + 4,
            bytes.loadUnaligned(fromByteOffset: Offset.opcode, as: UInt32.self) == clinux_fuse_init
        else { return nil }
        unique = bytes.loadUnaligned(fromByteOffset: Offset.unique, as: UInt64.self)
        let flags = bytes.loadUnaligned(fromByteOffset: Offset.flags, as: UInt32.self)
        guard flags & clinux_fuse_init_ext != 0, bytes.count >= Offset.flags2 + 4 else {
            offersPassthrough = false
            return
        }
        let more = bytes.loadUnaligned(fromByteOffset: Offset.flags2, as: UInt32.self)
        offersPassthrough = more & clinux_fuse_passthrough_high != 0
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

    /// Says yes to passthrough.
    ///
    /// - Parameter unique: of the request.
    /// - Returns: false, with nothing changed, when this is another reply, an error, or one that agrees on a write-back
    ///   cache, with which the kernel does no passthrough.
    static func agreeToPassthrough(_ reply: UnsafeMutableRawBufferPointer, unique: UInt64) -> Bool {
        func load(_ offset: Int) -> UInt32 { reply.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
        guard reply.count == size, load(Offset.length) == UInt32(size), load(Offset.error) == 0,
            reply.loadUnaligned(fromByteOffset: Offset.unique, as: UInt64.self) == unique, load(Offset.major) == 7,
            load(Offset.flags) & clinux_fuse_writeback_cache == 0
        else { return false }
        reply.storeBytes(of: load(Offset.flags) | clinux_fuse_init_ext, toByteOffset: Offset.flags, as: UInt32.self)
        let flags2 = load(Offset.flags2) | clinux_fuse_passthrough_high
        reply.storeBytes(of: flags2, toByteOffset: Offset.flags2, as: UInt32.self)
        reply.storeBytes(of: stackDepth, toByteOffset: Offset.maximumStackDepth, as: UInt32.self)
        return true
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
}
