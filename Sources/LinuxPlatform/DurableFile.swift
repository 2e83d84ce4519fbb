import Glibc

/// Small files that are either the old or the new one, whenever the power goes.
package enum DurableFile {
    /// Writes `bytes` beside `path` and renames them onto it; returns when both the bytes and the name are on stable
    /// storage.
    ///
    /// - Parameters:
    ///   - path: relative to `directory` unless absolute; its directory exists.
    ///   - mode: the permission bits; the process's umask is taken off.
    /// - Throws: the `errno` of the call that failed; then nothing has changed, and what was written is removed.
    package static func replace(
        _ path: String,
        _ bytes: [UInt8],
        mode: UInt32 = 0o644,
        relativeTo directory: Int32 = -100,  // AT_FDCWD
        isSynchronized: Bool = true
    ) throws(Errno) {
        let (parent, name) = split(path)
        let folder = try FileDescriptor(path: parent, flags: O_RDONLY | O_DIRECTORY, relativeTo: directory)
        let temporary = ".\(name.prefix(100)).\(String(RandomBytes.number(), radix: 36)).tmp"
        do throws(Errno) {
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
            let file = try FileDescriptor(path: temporary, flags: flags, mode: mode, relativeTo: folder.rawValue)
            try file.write(bytes, at: 0)
            if isSynchronized { try file.synchronize() }
            try folder.rename(temporary, to: folder, name)
        } catch {
            try? folder.unlink(temporary)
            throw error
        }
        if isSynchronized { try folder.synchronize() }
    }

    /// The whole file.
    ///
    /// - Throws: `EFBIG` when it has more than `limit` bytes, or the `errno` of the call that failed.
    package static func read(
        _ path: String,
        limit: Int,
        relativeTo directory: Int32 = -100  // AT_FDCWD
    ) throws(Errno) -> [UInt8] {
        let file = try FileDescriptor(path: path, flags: O_RDONLY, relativeTo: directory)
        // One byte more than allowed, so that a file that grows is found out, too; and not more than there is, so that
        // a small file under a large limit is cheap. Files of /proc have no size.
        let expected = try file.size()
        if expected > limit { throw Errno(EFBIG) }
        let piece = BufferLease(size: max(expected, 4096) + 1)
        var bytes: [UInt8] = []
        while true {
            let count = try file.read(into: piece.bytes, at: bytes.count)
            bytes += piece.bytes[..<count]
            if bytes.count > limit { throw Errno(EFBIG) }
            if count < piece.count { return bytes }
        }
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return (".", path) }
        let parent = String(path[..<slash])
        return (parent.isEmpty ? "/" : parent, String(path[path.utf8.index(after: slash)...]))
    }
}

extension FileDescriptor {
    /// Writes all of the bytes at `offset`.
    package func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
        var failure: Errno?
        bytes.withUnsafeBytes { buffer in
            do throws(Errno) { try write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
