import CLinux
import Glibc

extension FileDescriptor {
    /// Copies `count` bytes from another file, inside the kernel where it can: shared extents on filesystems that have
    /// them, otherwise a copy without a detour (copy_file_range(2)), otherwise through memory.
    ///
    /// - Throws: `inputOutput` when the source ends early, or the `errno` of the call that failed.
    package func copy(
        from source: borrowing FileDescriptor,
        offset: Int = 0,
        count: Int,
        to target: Int
    ) throws(Errno) {
        var done = 0
        let from = source.rawValue
        while done < count {
            let copied: Int
            do throws(Errno) {
                copied = try retryingOnInterrupt {
                    clinux_copy_file_range(from, offset + done, rawValue, target + done, count - done)
                }
            } catch {
                // Across filesystems, or one that cannot: the kernel says so before it has copied anything.
                guard [EXDEV, ENOSYS, EOPNOTSUPP, EINVAL, EPERM].contains(error.code) else { throw error }
                return try copyThroughMemory(source, offset + done, count - done, target + done)
            }
            if copied == 0 { throw .inputOutput }
            done += copied
        }
    }

    private func copyThroughMemory(
        _ source: borrowing FileDescriptor,
        _ offset: Int,
        _ count: Int,
        _ target: Int
    ) throws(Errno) {
        let buffer = BufferLease(size: min(1 << 20, max(1, count)))
        var done = 0
        while done < count {
            let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<min(buffer.count, count - done)])
            let read = try source.read(into: wanted, at: offset + done)
            if read == 0 { throw .inputOutput }
            try write(UnsafeRawBufferPointer(rebasing: wanted[..<read]), at: target + done)
            done += read
        }
    }
}
