import Glibc

/// Directories with all that is below them.
package enum DirectoryTree {
    /// Makes the directory and those above it that are missing; one that exists is a success.
    ///
    /// - Throws: `notDirectory` when a file stands in the way, or the `errno` of mkdir(2).
    package static func make(_ path: String, mode: UInt32 = 0o777) throws(Errno) {
        var prefix = path.hasPrefix("/") ? "/" : ""
        for segment in path.split(separator: "/") {
            prefix += "\(segment)"
            if mkdir(prefix, mode_t(mode)) != 0 {
                let error = Errno.current
                // A directory that is there may be read-only, or in one that is.
                guard error == .exists || error == .readOnly || error == .access else { throw error }
                guard isDirectory(prefix) else { throw error == .exists ? .notDirectory : error }
            }
            prefix += "/"
        }
    }

    /// Removes the directory and all that is below it, following no symbolic link; one that is missing is a success.
    ///
    /// - Throws: the `errno` of the call that failed; what was removed until then stays removed.
    package static func remove(_ path: String) throws(Errno) {
        let directory: FileDescriptor
        do throws(Errno) {
            directory = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        } catch {
            if error == .noEntry { return }
            throw error
        }
        try removeContents(directory, depth: 0)
        _ = try retryingOnInterrupt { rmdir(path) }
    }

    private static func removeContents(_ directory: borrowing FileDescriptor, depth: Int) throws(Errno) {
        if depth > 512 { throw Errno(ELOOP) }
        for entry in try directory.entries() {
            if try directory.status(of: entry.name).kind == .directory {
                try removeContents(try directory.directory(entry.name), depth: depth + 1)
                try directory.removeDirectory(entry.name)
            } else {
                try directory.unlink(entry.name)
            }
        }
    }

    private static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
