import CLinux
import Glibc

/// A lock on a file that holds between processes, and between two openings of one process (OFD lock, fcntl(2)).
///
/// It goes with the value, and with the process, however that ends. Not a lock of memory: it may be held over I/O, on a
/// thread that may wait.
package struct FileLock: ~Copyable, Sendable {
    private let descriptor: FileDescriptor

    /// Locks an open file, without waiting. The value takes the descriptor over.
    ///
    /// - Throws: `wouldBlock` when another holds a lock that excludes this one, or the `errno` of fcntl(2).
    package init(_ descriptor: consuming FileDescriptor, isExclusive: Bool = true) throws(Errno) {
        let raw = descriptor.rawValue
        _ = try retryingOnInterrupt { clinux_try_lock(raw, isExclusive ? 1 : 0) }
        self.descriptor = descriptor
    }

    /// Opens `path`, making it when it is missing, and waits for the lock. Blocks the thread.
    ///
    /// The kernel can wait by itself, but not for a limited time: a frozen holder would freeze everybody else.
    ///
    /// - Throws: `timedOut` after `patience`, or the `errno` of openat(2) or fcntl(2).
    package init(
        path: String,
        relativeTo directory: Int32 = -100,  // AT_FDCWD
        isExclusive: Bool = true,
        patience: Duration
    ) throws(Errno) {
        let descriptor = try FileDescriptor(path: path, flags: O_RDWR | O_CREAT, relativeTo: directory)
        let raw = descriptor.rawValue
        let deadline = SystemTime().now().advanced(by: patience)
        var pause: UInt32 = 100
        while clinux_try_lock(raw, isExclusive ? 1 : 0) != 0 {
            let error = Errno.current
            guard error == .wouldBlock || error == .access || error == .interrupted else { throw error }
            guard SystemTime().now() < deadline else { throw .timedOut }
            usleep(pause)
            pause = min(20_000, pause * 2)
        }
        self.descriptor = descriptor
    }

    /// Gives the lock back now.
    package consuming func unlock() {}
}
