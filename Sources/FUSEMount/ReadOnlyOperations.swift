import CFuse3
import Filesystem
import Glibc
import LinuxPlatform

/// libfuse's callbacks for a mount that is only read; see `FUSEOperations`.
enum ReadOnlyOperations {
    static func table() -> fuse_lowlevel_ops {
        var table = FUSEOperations.table()
        setNames(&table)
        setFiles(&table)
        setDirectories(&table)
        setWrites(&table)
        return table
    }

    // MARK: Names and attributes

    private static func setNames(_ table: inout fuse_lowlevel_ops) {
        table.lookup = { request, parent, name in
            guard let (session, reply) = FUSEOperations.park(request, ReadOnlySession.self) else { return }
            guard let name, let text = String(validatingCString: name) else { return reply.error(.noEntry) }
            session.filesystem.lookup(NodeID(parent), text) { result in
                switch result {
                case .success(let found):
                    let isKnown = reply.entry(session.entry(found.attributes, until: found.validUntil))
                    if !isKnown, let attributes = found.attributes { session.filesystem.forget(attributes.node, 1) }
                case .failure(let error): reply.error(error)
                }
            }
        }
        table.forget = { request, node, count in
            guard let request else { return }
            ReadOnlySession.of(request)?.filesystem.forget(NodeID(node), count)
            fuse_reply_none(request)
        }
        table.forget_multi = { request, count, forgets in
            guard let request else { return }
            for forget in UnsafeBufferPointer(start: forgets, count: count) {
                ReadOnlySession.of(request)?.filesystem.forget(NodeID(forget.ino), forget.nlookup)
            }
            fuse_reply_none(request)
        }
        table.getattr = { request, node, _ in
            guard let request, let session = ReadOnlySession.of(request) else { return }
            do throws(FilesystemError) {
                var status = session.status(try session.filesystem.attributes(NodeID(node)))
                fuse_reply_attr(request, &status, ReadOnlySession.forever)
            } catch {
                fuse_reply_err(request, Errno(error).code)
            }
        }
        table.readlink = { request, node in
            guard let (session, reply) = FUSEOperations.park(request, ReadOnlySession.self) else { return }
            session.filesystem.linkTarget(NodeID(node)) { result in
                switch result {
                case .success(let target): reply.target(target)
                case .failure(let error): reply.error(error)
                }
            }
        }
        table.statfs = { request, _ in
            guard let request, let session = ReadOnlySession.of(request) else { return }
            var totals = session.totals
            fuse_reply_statfs(request, &totals)
        }
        table.getxattr = { request, node, name, size in
            guard let request, let session = ReadOnlySession.of(request) else { return }
            session.extendedAttribute(request, NodeID(node), name.flatMap { String(validatingCString: $0) }, size)
        }
        table.listxattr = { request, node, size in
            guard let request, let session = ReadOnlySession.of(request) else { return }
            session.listExtendedAttributes(request, NodeID(node), size)
        }
    }

    // MARK: Files

    private static func setFiles(_ table: inout fuse_lowlevel_ops) {
        table.open = { request, node, info in
            guard let (session, reply) = FUSEOperations.park(request, ReadOnlySession.self) else { return }
            guard let info else { return reply.error(.inputOutput) }
            guard info.pointee.flags & O_ACCMODE == O_RDONLY, info.pointee.flags & O_TRUNC == 0 else {
                return reply.error(.readOnly)
            }
            session.filesystem.open(NodeID(node)) { result in
                switch result {
                case .success: session.opened(NodeID(node), reply)
                case .failure(let error): reply.error(error)
                }
            }
        }
        table.read = { request, node, size, offset, _ in
            guard let request, let session = ReadOnlySession.of(request) else { return }
            session.read(request, NodeID(node), offset: Int(offset), count: size)
        }
        table.release = { request, node, _ in
            guard let request else { return }
            ReadOnlySession.of(request)?.released(NodeID(node))
            fuse_reply_err(request, 0)
        }
    }

    // MARK: Directories

    private static func setDirectories(_ table: inout fuse_lowlevel_ops) {
        table.opendir = { request, node, _ in
            guard let (session, reply) = FUSEOperations.park(request, ReadOnlySession.self) else { return }
            session.filesystem.openDirectory(NodeID(node)) { result in
                switch result {
                case .success(let directory):
                    let isOpen = reply.opened(session.openDirectory(directory))
                    if !isOpen { session.filesystem.releaseDirectory(directory.handle) }
                case .failure(let error): reply.error(error)
                }
            }
        }
        table.readdir = { request, node, size, offset, info in
            readDirectory(request, node, size, offset, info, withAttributes: false)
        }
        table.readdirplus = { request, node, size, offset, info in
            readDirectory(request, node, size, offset, info, withAttributes: true)
        }
        table.releasedir = { request, _, info in
            guard let request else { return }
            if let info { ReadOnlySession.of(request)?.filesystem.releaseDirectory(info.pointee.fh) }
            fuse_reply_err(request, 0)
        }
    }

    // MARK: Writes

    /// Everything that would change something.
    private static func setWrites(_ table: inout fuse_lowlevel_ops) {
        table.setattr = { request, _, _, _, _ in refuse(request) }
        table.mknod = { request, _, _, _, _ in refuse(request) }
        table.mkdir = { request, _, _, _ in refuse(request) }
        table.unlink = { request, _, _ in refuse(request) }
        table.rmdir = { request, _, _ in refuse(request) }
        table.symlink = { request, _, _, _ in refuse(request) }
        table.rename = { request, _, _, _, _, _ in refuse(request) }
        table.link = { request, _, _, _ in refuse(request) }
        table.write = { request, _, _, _, _, _ in refuse(request) }
        table.setxattr = { request, _, _, _, _, _ in refuse(request) }
        table.removexattr = { request, _, _ in refuse(request) }
        table.create = { request, _, _, _, _ in refuse(request) }
        table.fallocate = { request, _, _, _, _, _ in refuse(request) }
    }
}

// Free functions: a C function pointer can be made only of a closure that captures nothing, and a static method called
// by its bare name captures its type.

private func readDirectory(
    _ request: fuse_req_t?,
    _ node: fuse_ino_t,
    _ size: Int,
    _ offset: off_t,
    _ info: UnsafeMutablePointer<fuse_file_info>?,
    withAttributes: Bool
) {
    guard let (session, reply) = FUSEOperations.park(request, ReadOnlySession.self) else { return }
    let handle = info?.pointee.fh ?? 0
    session.filesystem.directory(handle, NodeID(node)) { result in
        switch result {
        case .success(let listing):
            let page = DirectoryPage(session: session, node: NodeID(node), withAttributes: withAttributes)
            page.send(listing, from: max(0, Int(offset)), size: size, reply)
        case .failure(let error): reply.error(error)
        }
    }
}

private func refuse(_ request: fuse_req_t?) {
    if let request { fuse_reply_err(request, EROFS) }
}
