import CLinux
import Glibc
import LinuxPlatform
package import Telemetry

/// A directory that is, or shall be, a mount of ours.
package struct MountPoint: Hashable, Sendable {
    /// The type that our mounts have in the kernel's table.
    package static let filesystemType = "fuse.penstock"

    /// Absolute, without symbolic links.
    package let path: String

    /// One that was resolved before: it is not looked at, for there may be nobody who could answer.
    package init(resolved path: String) { self.path = path }

    /// Resolves a path. Its last component may be a mount whose daemon has died: only what is above it is touched then.
    package init(_ given: String) throws(MountError) {
        if let whole = Self.resolved(given) {
            path = whole
            return
        }
        let error = Errno.current
        var parts = given.split(separator: "/")
        guard error == .notConnected, let last = parts.popLast(), last != ".", last != "..",
            let parent = Self.resolved((given.hasPrefix("/") ? "/" : "./") + parts.joined(separator: "/"))
        else { throw MountError(.unusable, "cannot use '\(given)' as a mount point: \(error)") }
        path = parent == "/" ? "/\(last)" : "\(parent)/\(last)"
    }

    private static func resolved(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    /// Makes sure that something may be mounted here, and takes away what a daemon of ours left when it died.
    ///
    /// - Parameter isForced: also over files and over mounts of others.
    /// - Returns: whether a dead mount was taken away.
    package func prepare(isForced: Bool) throws(MountError) -> Bool {
        let wasStale = try detachStale()
        let hasFiles = try !isEmpty()
        let table: MountTable
        do { table = try MountTable.current() } catch { throw MountError("cannot read the mount table", error) }
        if let entry = table.top(at: path) {
            if entry.type == Self.filesystemType {
                throw MountError(.unusable, "\(path) is mounted already; run 'penstock unmount \(path)' first")
            }
            if !isForced, path != "/" {
                throw MountError(
                    .unusable,
                    "\(path) is a mount of something else (\(entry.type) \(entry.source)); mount below it, or pass --force"
                )
            }
        }
        if !isForced, hasFiles {
            throw MountError(.unusable, "\(path) is not empty; its files would be hidden (--force mounts over them)")
        }
        return wasStale
    }

    /// As `prepare`, with a line in the log when something was taken away; this mount point.
    package func prepared(isForced: Bool, log: Log) throws(MountError) -> MountPoint {
        if try prepare(isForced: isForced) {
            log.warn("took away the mount of a daemon that died", ["path": LogValue(path)])
        }
        return self
    }

    /// Detaches mounts of ours whose daemon is gone, however many lie on top of each other.
    private func detachStale() throws(MountError) -> Bool {
        var isFound = false
        for _ in 0..<100 {
            // statfs(2) and not stat(2): its answer is never one that the kernel remembers.
            if clinux_filesystem_answers(path) == 0 || Errno.current != .notConnected { return isFound }
            let top: MountTable.Entry?
            do { top = try MountTable.current().top(at: path) } catch {
                throw MountError("cannot read the mount table", error)
            }
            guard let top, top.type == Self.filesystemType else {
                throw MountError(
                    .unusable,
                    "\(path) is a dead mount of something else (\(top?.type ?? "unknown")); unmount it first"
                )
            }
            try detach()
            isFound = true
        }
        throw MountError(.system, "dead mounts at \(path) do not go away")
    }

    private func isEmpty() throws(MountError) -> Bool {
        guard let directory = opendir(path) else {
            throw MountError(.unusable, "cannot mount at \(path): \(Errno.current)")
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let isDot = withUnsafeBytes(of: entry.pointee.d_name) { name in
                name[0] == 0x2E && (name[1] == 0 || (name[1] == 0x2E && name[2] == 0))
            }
            if !isDot { return false }
        }
        return true
    }

    // MARK: Unmounting

    /// Unmounts a mount of ours, and only one of ours.
    ///
    /// - Parameter isDetached: also when it is in use: it leaves the tree at once, and ends with its last user.
    /// - Throws: `unusable` when nothing of ours is mounted here, `busy` when it is in use.
    package func unmount(isDetached: Bool) throws(MountError) {
        let entry: MountTable.Entry?
        do { entry = try MountTable.current().top(at: path) } catch {
            throw MountError("cannot read the mount table", error)
        }
        guard let entry else { throw MountError(.unusable, "nothing is mounted at \(path)") }
        guard entry.type == Self.filesystemType else {
            throw MountError(
                .unusable,
                "\(path) is not a mount of penstock but \(entry.type) (\(entry.source)); it is left alone"
            )
        }
        if isDetached { return try detach() }
        do {
            try call(isDetached: false)
        } catch {
            guard error == Errno(EBUSY) else { throw MountError("cannot unmount \(path)", error) }
            throw MountError(
                .busy,
                "\(path) is in use; end its users (fuser -vm \(path)), or detach it with --detach"
            )
        }
    }

    /// Takes the mount out of the tree at once; it ends with its last user.
    package func detach() throws(MountError) {
        do { try call(isDetached: true) } catch { throw MountError("cannot detach \(path)", error) }
    }

    private func call(isDetached: Bool) throws(Errno) {
        if clinux_unmount(path, isDetached ? 1 : 0) == 0 { return }
        let error = Errno.current
        guard error == .permission else { throw error }
        try FUSERMount.unmount(path, isDetached: isDetached)
    }
}
