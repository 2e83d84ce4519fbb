import CFuse3
import CLinux
import Filesystem
import Glibc
import LinuxPlatform
import Telemetry
import WriteBack

/// A session over a tree that is written to.
///
/// Nothing is kept here: what a request names, its node and handle, is all that the tree needs, so that another process
/// can go on at any moment. The kernel's own caches do the rest: reads and mappings come from its page cache, which every
/// write goes through; locks, umask and permissions are its business.
final class WritableSession: FUSESession, @unchecked Sendable {  // what it adds is constant
    let tree: any WritableTree

    /// - Parameters:
    ///   - usesResend: agree upon that the kernel sends requests again.
    ///   - records: notes for the process that comes after this one, and of the one before; not of handles, which the tree
    ///     counts.
    ///   - ended: called on the last thread's way out: the kernel has let go of the mount.
    init(
        _ channel: consuming Channel,
        tree: any WritableTree,
        usesResend: Bool = true,
        records: SessionRecords? = nil,
        metrics: MountMetrics,
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.tree = tree
        try super.init(
            channel,
            WritableOperations.table(),
            // Writes are as large as can be.
            usualRequest: Self.maximumRequest,
            wanted: UInt32(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_CACHE_SYMLINKS),
            // Files have no such bits (`TreeAttributes.mode`).
            wantedBesides: .privilegeClearing,
            backings: nil,
            usesResend: usesResend,
            records: records,
            metrics: metrics,
            log: log,
            ended: ended
        )
        tree.observe { [notifier] change in
            switch change {
            case .name(let name, let directory):
                guard let name = EntryName(name) else { return }
                notifier?.forget([.name(name, in: NodeID(directory.number))])
            case .content(let node): notifier?.forget([.content(NodeID(node.number))])
            }
        }
    }
}

// The tree's values in the kernel's shapes.
extension WritableSession {
    static func status(_ attributes: TreeAttributes) -> stat {
        var status = stat()
        status.st_ino = UInt(attributes.node.number)
        status.st_mode = kind(attributes.kind) | mode_t(attributes.mode & 0o7777)
        // See `ReadOnlySession.status`.
        status.st_nlink = attributes.isNamed ? 1 : 0
        status.st_uid = attributes.user
        status.st_gid = attributes.group
        status.st_size = attributes.size
        status.st_blksize = 1 << 20
        status.st_blocks = attributes.size / 512 + (attributes.size % 512 == 0 ? 0 : 1)
        status.st_atim = timespec(attributes.accessed)
        status.st_mtim = timespec(attributes.modified)
        status.st_ctim = timespec(attributes.changed)
        return status
    }

    private static func kind(_ kind: TreeKind) -> mode_t {
        switch kind {
        case .file: S_IFREG
        case .directory: S_IFDIR
        case .link: S_IFLNK
        }
    }

    /// What stands under a name, also "nothing" (a node of 0).
    static func entry(_ attributes: TreeAttributes?, until moment: MonotonicInstant) -> fuse_entry_param {
        var entry = fuse_entry_param()
        entry.entry_timeout = timeout(until: moment)
        guard let attributes else { return entry }
        entry.ino = attributes.node.number
        entry.attr = status(attributes)
        entry.attr_timeout = entry.entry_timeout
        return entry
    }

    /// With direct_io there would be no shared mappings. Closing what can only read is nobody's business.
    static func info(_ file: TreeFile) -> fuse_file_info {
        var info = fuse_file_info()
        info.fh = file.handle.number
        info.keep_cache = file.keepsCache ? 1 : 0
        info.noflush = file.handle.mode.contains(.write) ? 0 : 1
        return info
    }

    static func totals(_ space: TreeSpace) -> statvfs {
        var totals = statvfs()
        totals.f_bsize = 1 << 20
        totals.f_frsize = 4096
        totals.f_blocks = UInt(max(0, space.totalBytes) / 4096)
        totals.f_bfree = UInt(max(0, space.freeBytes) / 4096)
        totals.f_bavail = totals.f_bfree
        totals.f_files = UInt(max(0, space.files))
        // Files take no room of their own.
        totals.f_ffree = 1 << 30
        totals.f_favail = totals.f_ffree
        totals.f_namemax = UInt(EntryName.maximumLength)
        return totals
    }

    /// What setattr asks for. Source: FUSE_SET_ATTR_… of fuse_lowlevel.h.
    static func changes(_ status: stat, _ which: Int32) -> AttributeChanges {
        func has(_ flag: Int32) -> Bool { which & flag != 0 }
        func time(_ flag: Int32, now: Int32, _ time: timespec) -> AttributeChanges.Time? {
            has(now) ? .now : has(flag) ? .at(UnixTime(time)) : nil
        }
        var changes = AttributeChanges()
        if has(FUSE_SET_ATTR_SIZE) { changes.size = status.st_size }
        if has(FUSE_SET_ATTR_MODE) { changes.mode = UInt16(status.st_mode & 0o7777) }
        if has(FUSE_SET_ATTR_UID) { changes.user = status.st_uid }
        if has(FUSE_SET_ATTR_GID) { changes.group = status.st_gid }
        changes.accessed = time(FUSE_SET_ATTR_ATIME, now: FUSE_SET_ATTR_ATIME_NOW, status.st_atim)
        changes.modified = time(FUSE_SET_ATTR_MTIME, now: FUSE_SET_ATTR_MTIME_NOW, status.st_mtim)
        return changes
    }
}

extension OpenMode {
    /// What open(2) was asked for.
    init(flags: Int32) {
        switch flags & O_ACCMODE {
        case O_RDONLY: self = .read
        case O_WRONLY: self = .write
        case O_RDWR: self = [.read, .write]
        // Neither: only ioctl(2) (see open(2)).
        default: self = []
        }
        if flags & O_APPEND != 0 { insert(.append) }
    }
}
