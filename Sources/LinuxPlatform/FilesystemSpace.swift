import Glibc

/// The room of a filesystem (statvfs(3)).
package struct FilesystemSpace: Hashable, Sendable {
    /// In bytes.
    package let total: Int
    /// What this user may still fill, in bytes.
    package let available: Int
}

extension FileDescriptor {
    /// The room of the filesystem that the file is on.
    package func space() throws(Errno) -> FilesystemSpace {
        var status = statvfs()
        _ = try retryingOnInterrupt { fstatvfs(rawValue, &status) }
        let unit = Int(clamping: status.f_frsize)
        return FilesystemSpace(
            total: Int(clamping: status.f_blocks).multipliedReportingOverflow(by: unit).partialValue,
            available: Int(clamping: status.f_bavail).multipliedReportingOverflow(by: unit).partialValue
        )
    }

    /// O_DIRECT: reads and writes go past the page cache, in whole blocks of the disk at addresses that are multiples of
    /// them. A GNU extension that Swift's Glibc module does not declare (asm/fcntl.h).
    #if arch(arm64)
        package static let direct: Int32 = 0o200000
    #else
        package static let direct: Int32 = 0o40000
    #endif

    /// Asks the kernel to forget the file's clean pages (posix_fadvise(2)).
    package func dropPageCache() { posix_fadvise(rawValue, 0, 0, POSIX_FADV_DONTNEED) }
}
