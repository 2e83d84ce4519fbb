import CLinux
import Glibc

/// An open file, closed when the value goes.
package struct FileDescriptor: ~Copyable, Sendable {
    /// The number the kernel knows it by. Borrow it; never close it.
    package let rawValue: Int32

    /// Takes over an open descriptor.
    package init(owning rawValue: Int32) { self.rawValue = rawValue }

    /// Opens a file. `O_CLOEXEC` is always added.
    ///
    /// - Throws: the `errno` of openat(2).
    package init(
        path: String,
        flags: Int32,
        mode: UInt32 = 0o644,
        relativeTo directory: Int32 = -100  // AT_FDCWD
    ) throws(Errno) {
        rawValue = try retryingOnInterrupt { clinux_openat(directory, path, flags | O_CLOEXEC, mode) }
    }

    deinit { close(rawValue) }

    /// Gives the descriptor up to the caller, who must close it.
    package consuming func release() -> Int32 {
        let raw = rawValue
        discard self
        return raw
    }

    /// Reads at `offset` until the buffer is full or the file ends; the number of bytes read.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try retryingOnInterrupt { pread(rawValue, rest.baseAddress, rest.count, off_t(offset + done)) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Writes all of the bytes at `offset`.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Errno) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try retryingOnInterrupt { pwrite(rawValue, rest.baseAddress, rest.count, off_t(offset + done)) }
        }
    }

    /// Returns when the file's data and metadata are on stable storage (fsync(2)).
    package func synchronize() throws(Errno) {
        _ = try retryingOnInterrupt { fsync(rawValue) }
    }

    /// The length of the file in bytes.
    package func size() throws(Errno) -> Int {
        var status = stat()
        _ = try retryingOnInterrupt { fstat(rawValue, &status) }
        return Int(status.st_size)
    }
}
