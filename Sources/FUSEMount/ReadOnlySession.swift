import CFuse3
import Filesystem
import Glibc
import LinuxPlatform
import Telemetry

/// A session over a filesystem that is only read.
final class ReadOnlySession: FUSESession, @unchecked Sendable {  // what it adds is constant
    /// Only requests that change something are larger, and those are refused.
    private static let usualRequest = 128 << 10

    let filesystem: Filesystem
    let owners: (user: UInt32, group: UInt32)

    /// - Parameters:
    ///   - owners: shown as the owners of everything.
    ///   - backings: where the kernel behind an open /dev/fuse takes files to read them by itself; nil: it shall not.
    ///   - usesResend: agree upon that the kernel sends requests again.
    ///   - records: notes for the process that comes after this one, and of the one before.
    ///   - ended: called on the last thread's way out: the kernel has let go of the mount.
    init(
        _ channel: consuming Channel,
        filesystem: Filesystem,
        owners: (user: UInt32, group: UInt32),
        backings: ((Int32) -> any BackingRegistry)?,
        usesResend: Bool = true,
        records: SessionRecords? = nil,
        metrics: MountMetrics,
        log: Log,
        ended: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.filesystem = filesystem
        self.owners = owners
        try super.init(
            channel,
            ReadOnlyOperations.table(),
            usualRequest: Self.usualRequest,
            backings: backings,
            usesResend: usesResend,
            records: records,
            metrics: metrics,
            log: log,
            ended: ended
        )
        filesystem.observeNames { [notifier] directory, names in notifier?.forget(names, in: directory) }
    }
}

// The filesystem's values in the kernel's shapes.
extension ReadOnlySession {
    func status(_ attributes: NodeAttributes) -> stat {
        var status = stat()
        status.st_ino = UInt(attributes.number)
        status.st_mode = S_IFREG | 0o444
        if attributes.isDirectory { status.st_mode = S_IFDIR | 0o555 }
        if attributes.isLink { status.st_mode = S_IFLNK | 0o777 }
        // One link says of a directory that its links are not counted. Two would say that it has no directories in it:
        // fts(3) and what is built on it would not look for any.
        status.st_nlink = 1
        status.st_uid = owners.user
        status.st_gid = owners.group
        status.st_size = attributes.size
        status.st_blksize = 1 << 20
        status.st_blocks = (attributes.size + 511) / 512
        let time = timespec(attributes.modified)
        status.st_mtim = time
        status.st_ctim = time
        status.st_atim = time
        return status
    }

    /// What stands under a name, also "nothing" (a node of 0), to be remembered as long as the listing is believed.
    func entry(_ attributes: NodeAttributes?, until moment: MonotonicInstant) -> fuse_entry_param {
        var entry = fuse_entry_param()
        entry.entry_timeout = Self.timeout(until: moment)
        guard let attributes else { return entry }
        entry.ino = attributes.node.value
        entry.attr = status(attributes)
        entry.attr_timeout = Self.forever
        return entry
    }

    /// One inode is one content, so what the kernel has of it stays good.
    var openFile: fuse_file_info {
        var info = fuse_file_info()
        info.keep_cache = 1
        info.noflush = 1
        return info
    }

    /// What the kernel has of a directory it may show again, until an open finds that it has changed.
    func openDirectory(_ directory: Filesystem.OpenedDirectory) -> fuse_file_info {
        var info = fuse_file_info()
        info.fh = directory.handle
        info.cache_readdir = 1
        info.keep_cache = directory.isUnchanged ? 1 : 0
        return info
    }

    var totals: statvfs {
        let known = filesystem.totals
        var totals = statvfs()
        totals.f_bsize = 1 << 20
        totals.f_frsize = 4096
        totals.f_blocks = UInt((known.bytes + 4095) / 4096)
        totals.f_files = UInt(known.files)
        totals.f_namemax = UInt(EntryName.maximumLength)
        return totals
    }

    // MARK: Open files

    /// Answers an OPEN that the filesystem has counted.
    func opened(_ node: NodeID, _ reply: FUSEReply) {
        guard let passthrough else {
            if !reply.opened(openFile) { released(node) }
            return
        }
        let answer = { @Sendable [self] (mode: InodeMode) in
            let isOpen =
                switch mode {
                case .daemon: reply.opened(openFile)
                case .kernel(let backing): reply.opened(backing)
                }
            if !isOpen { released(node) }
        }
        passthrough.open(node, backing: { filesystem.backing(of: node) }, completion: answer)
    }

    /// A handle is gone, or nobody waited for it any more.
    func released(_ node: NodeID) {
        passthrough?.release(node)
        filesystem.release(node)
    }

    // MARK: Bytes

    /// Answers at once what is in memory; parks the rest.
    func read(_ request: fuse_req_t, _ node: NodeID, offset: Int, count: Int) {
        metrics.reads.add()
        if filesystem.readNow(node, offset: offset, count: count, { FUSEReply.send(request, $0) }) { return }
        let id = filesystem.newRead()
        // The read's number and not an object: an interrupt may come when the read is over and forgotten.
        let context = UnsafeMutableRawPointer(bitPattern: UInt(id))
        fuse_req_interrupt_func(
            request,
            { request, context in
                guard let request, let session = ReadOnlySession.of(request) else { return }
                session.filesystem.cancelRead(UInt64(UInt(bitPattern: context)))
            },
            context
        )
        if fuse_req_interrupted(request) != 0 {
            fuse_reply_err(request, EINTR)
            return
        }
        let reply = FUSEReply(request, activity, number: activity.newNumber())
        filesystem.read(id, node, offset: offset, count: count) { result in
            switch result {
            case .success(let bytes): reply.bytes(bytes)
            case .failure(let error): reply.error(error)
            }
        }
    }

    // MARK: Extended attributes

    /// Only the namespace `user` is known, as on other filesystems without ACLs (xattr(7)).
    ///
    /// With a size of 0 the length is asked for; a smaller buffer than needed is ERANGE (getxattr(2)).
    func extendedAttribute(_ request: fuse_req_t, _ node: NodeID, _ name: String?, _ size: Int) {
        do throws(FilesystemError) {
            // With ENODATA, ls(1) asks for the ACL of each file; after this, once in its life.
            guard let name, name.utf8.starts(with: "user.".utf8) else { throw .notSupported }
            let all = try extendedAttributes(node)
            guard let value = all.first(where: { $0.name == name })?.value else { throw .noAttribute }
            answer(request, Array(value.utf8), size)
        } catch {
            fuse_reply_err(request, Errno(error).code)
        }
    }

    func listExtendedAttributes(_ request: fuse_req_t, _ node: NodeID, _ size: Int) {
        do throws(FilesystemError) {
            answer(request, try extendedAttributes(node).flatMap { Array($0.name.utf8) + [0] }, size)
        } catch {
            fuse_reply_err(request, Errno(error).code)
        }
    }

    /// Those of the filesystem, and for an open file whether the kernel reads it by itself.
    private func extendedAttributes(_ node: NodeID) throws(FilesystemError) -> [(name: String, value: String)] {
        let all = try filesystem.extendedAttributes(node)
        guard let mode = passthrough?.mode(of: node) else { return all }
        let value = if case .kernel = mode { "yes" } else { "no" }
        return (all + [(name: "user.penstock.passthrough", value: value)]).sorted { $0.name < $1.name }
    }

    private func answer(_ request: fuse_req_t, _ bytes: [UInt8], _ size: Int) {
        if size == 0 {
            fuse_reply_xattr(request, bytes.count)
        } else if size < bytes.count {
            fuse_reply_err(request, ERANGE)
        } else {
            bytes.withUnsafeBytes { bytes in
                _ = fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
            }
        }
    }
}

/// Fills one answer to READDIR or READDIRPLUS.
///
/// Offsets are those of `DirectoryListing.cookie`.
struct DirectoryPage {
    let session: ReadOnlySession
    let node: NodeID
    let withAttributes: Bool

    func send(_ listing: DirectoryListing, from offset: Int, size: Int, _ reply: FUSEReply) {
        var page = DirectoryBuffer(size: size, withAttributes: withAttributes)
        defer { page.deallocate() }
        var next = listing.position(of: offset)
        while next < listing.entries.count + 2 {
            let fits =
                next < 2 ? addDot(next, to: &page) : add(listing.entries[next - 2], of: listing, after: next, to: &page)
            guard fits else { break }
            next += 1
        }
        reply.buffer(page.bytes)
    }

    /// The kernel does not count `.` and `..` as looked up.
    private func addDot(_ which: Int, to page: inout DirectoryBuffer) -> Bool {
        let own = (try? session.filesystem.attributes(node))?.number ?? 1
        let number = which == 0 ? own : session.filesystem.parentNumber(of: node)
        return page.addDot(which, number: number)
    }

    private func add(
        _ line: DirectoryEntry,
        of listing: DirectoryListing,
        after index: Int,
        to page: inout DirectoryBuffer
    ) -> Bool {
        var entry = fuse_entry_param()
        if withAttributes {
            // Only what fits is told to the kernel, and so counted.
            guard page.hasRoom(for: line.name.value),
                case .success(let attributes) = session.filesystem.remember(line, in: node)
            else { return false }
            entry = session.entry(attributes, until: listing.validUntil)
        } else {
            entry.attr.st_ino = UInt(session.filesystem.number(of: line, in: node))
            entry.attr.st_mode = line.isDirectory ? S_IFDIR : line.isLink ? S_IFLNK : S_IFREG
        }
        return page.add(line.name.value, entry, offset: listing.cookie(after: index))
    }
}
