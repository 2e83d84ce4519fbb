import CLinux
import Glibc

/// What the kernel says of a file (stat(2)), as far as we look.
package struct FileStatus: Hashable, Sendable {
    package enum Kind: Sendable {
        case regular
        case directory
        case symbolicLink
        /// A device, a pipe, a socket.
        case other
    }

    package let kind: Kind
    package let inode: UInt64
    /// How many names it has; 0 for one that is only held open.
    package let links: Int
    /// In bytes.
    package let size: Int
    /// What it takes of the disk, in bytes: less than `size` where it has holes.
    package let allocated: Int
    /// The permission bits.
    package let mode: UInt32
    package let owner: UInt32
    /// When the contents last changed.
    package let modified: UnixTime

    init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            default: .other
            }
        inode = UInt64(status.st_ino)
        links = Int(status.st_nlink)
        size = Int(status.st_size)
        allocated = Int(status.st_blocks) * 512
        mode = UInt32(status.st_mode & 0o7777)
        owner = status.st_uid
        modified = UnixTime(
            nanoseconds: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        )
    }
}

/// A name in a directory. The kind is a hint of the filesystem, nil where it gives none.
package struct FileEntry: Hashable, Sendable {
    package let name: String
    package let kind: FileStatus.Kind?
}

// Calls relative to an open directory: no race with whoever renames the directories above it.
extension FileDescriptor {
    /// Of the open file.
    package func status() throws(Errno) -> FileStatus {
        var status = stat()
        _ = try retryingOnInterrupt { fstat(rawValue, &status) }
        return FileStatus(status)
    }

    /// Of `name` in this directory; of a symbolic link itself.
    package func status(of name: String) throws(Errno) -> FileStatus {
        var status = stat()
        _ = try retryingOnInterrupt { fstatat(rawValue, name, &status, AT_SYMLINK_NOFOLLOW) }
        return FileStatus(status)
    }

    /// Opens the directory `name` in this one; a symbolic link is `notDirectory`.
    package func directory(_ name: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor(path: name, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, relativeTo: rawValue)
    }

    /// Makes the directory `name` in this one.
    package func makeDirectory(_ name: String, mode: UInt32 = 0o777) throws(Errno) {
        _ = try retryingOnInterrupt { mkdirat(rawValue, name, mode_t(mode)) }
    }

    /// Renames `name` here to `newName` there, replacing what is there (rename(2)).
    package func rename(
        _ name: String,
        to directory: borrowing FileDescriptor,
        _ newName: String
    ) throws(Errno) {
        let target = directory.rawValue
        _ = try retryingOnInterrupt { renameat(rawValue, name, target, newName) }
    }

    /// Removes the file `name` from this directory.
    package func unlink(_ name: String) throws(Errno) {
        _ = try retryingOnInterrupt { unlinkat(rawValue, name, 0) }
    }

    /// Removes the empty directory `name` from this one.
    package func removeDirectory(_ name: String) throws(Errno) {
        _ = try retryingOnInterrupt { unlinkat(rawValue, name, AT_REMOVEDIR) }
    }

    /// Everything in this directory but `.` and `..`, in no order. Names that are not UTF-8 are left out.
    package func entries() throws(Errno) -> [FileEntry] {
        // A descriptor of its own: reading moves its offset, and closedir closes it.
        let own = try FileDescriptor(path: ".", flags: O_RDONLY | O_DIRECTORY, relativeTo: rawValue).release()
        guard let stream = fdopendir(own) else {
            let error = Errno.current
            close(own)
            throw error
        }
        defer { closedir(stream) }
        var entries: [FileEntry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw Errno.current }
                return entries
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            guard let name, name != ".", name != ".." else { continue }
            entries.append(FileEntry(name: name, kind: kind(Int(entry.pointee.d_type))))
        }
    }

    private func kind(_ type: Int) -> FileStatus.Kind? {
        switch type {
        case Int(DT_REG): .regular
        case Int(DT_DIR): .directory
        case Int(DT_LNK): .symbolicLink
        case Int(DT_UNKNOWN): nil
        default: .other
        }
    }

    /// Cuts the file off, or fills it up with zeros, to `size` bytes.
    package func truncate(to size: Int) throws(Errno) {
        _ = try retryingOnInterrupt { ftruncate(rawValue, off_t(size)) }
    }

    /// Has the kernel begin to write the range out; see sync_file_range(2). May block when the disk is busy. Promises nothing.
    package func beginWriting(_ range: Range<Int>) {
        _ = clinux_begin_writing(rawValue, range.lowerBound, range.count)
    }

    /// Returns when the file's data, and what is needed to find it, is on stable storage (fdatasync(2)).
    package func synchronizeData() throws(Errno) {
        _ = try retryingOnInterrupt { fdatasync(rawValue) }
    }
}
