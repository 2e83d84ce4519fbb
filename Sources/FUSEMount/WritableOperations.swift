import CFuse3
import Glibc
import LinuxPlatform
import WriteBack

/// libfuse's callbacks for a mount that is written to; see `FUSEOperations`.
///
/// What is not here libfuse answers with ENOSYS, and the kernel does by itself from then on: access(2) by the modes that
/// it knows, SEEK_DATA and SEEK_HOLE as if there were no holes, copy_file_range(2) by reading and writing, flock(2) and
/// fcntl(2) locks among the processes of this machine.
enum WritableOperations {
    static func table() -> fuse_lowlevel_ops {
        var table = FUSEOperations.table()
        setLookups(&table)
        setNames(&table)
        setFiles(&table)
        setSafety(&table)
        setDirectories(&table)
        setExtendedAttributes(&table)
        return table
    }

    // MARK: Names and attributes

    private static func setLookups(_ table: inout fuse_lowlevel_ops) {
        table.lookup = { request, parent, name in
            WritableCall.serve(request) { (call) throws(Errno) in
                // What is no text stands under no name.
                let name = try WritableCall.name(name, invalid: .noEntry)
                call.tree.lookup(call.request, name, in: TreeNode(number: parent)) { call.found($0) }
            }
        }
        table.forget = { request, node, count in
            guard let request else { return }
            WritableSession.of(request)?.tree.forget(TreeNode(number: node), lookups: count)
            fuse_reply_none(request)
        }
        table.forget_multi = { request, count, forgets in
            guard let request else { return }
            for forget in UnsafeBufferPointer(start: forgets, count: count) {
                WritableSession.of(request)?.tree.forget(TreeNode(number: forget.ino), lookups: forget.nlookup)
            }
            fuse_reply_none(request)
        }
        table.getattr = { request, node, _ in
            WritableCall.serve(request) { call in
                call.tree.attributes(call.request, TreeNode(number: node)) { call.attributes($0) }
            }
        }
        table.setattr = { request, node, status, which, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                guard let status else { throw .invalidArgument }
                let handle = info.map { TreeHandle(TreeNode(number: node), number: $0.pointee.fh) }
                let changes = WritableSession.changes(status.pointee, which)
                call.tree.setAttributes(call.request, TreeNode(number: node), changes, through: handle) {
                    call.attributes($0)
                }
            }
        }
        table.readlink = { request, node in
            WritableCall.serve(request) { call in
                call.tree.linkTarget(call.request, TreeNode(number: node)) { result in
                    switch result {
                    case .success(let target): call.reply.target(target)
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
        table.statfs = { request, _ in
            WritableCall.serve(request) { call in
                call.tree.space(call.request) { result in
                    switch result {
                    case .success(let space): call.reply.space(WritableSession.totals(space))
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
    }

    private static func setNames(_ table: inout fuse_lowlevel_ops) {
        table.mkdir = { request, parent, name, mode in
            WritableCall.serve(request) { (call) throws(Errno) in
                let (name, parent) = (try WritableCall.name(name), TreeNode(number: parent))
                call.tree.makeDirectory(call.request, name, in: parent, mode: UInt16(mode & 0o7777)) { call.made($0) }
            }
        }
        table.symlink = { request, target, parent, name in
            WritableCall.serve(request) { (call) throws(Errno) in
                let (name, parent) = (try WritableCall.name(name), TreeNode(number: parent))
                guard let target = target.flatMap({ String(validatingCString: $0) }) else { throw Errno(EILSEQ) }
                call.tree.makeLink(call.request, name, in: parent, target: target) { call.made($0) }
            }
        }
        table.mknod = { request, parent, name, mode, _ in
            WritableCall.serve(request) { (call) throws(Errno) in
                // Devices, pipes and sockets mean something on one machine only.
                guard mode & S_IFMT == S_IFREG || mode & S_IFMT == 0 else { throw .permission }
                let (name, parent) = (try WritableCall.name(name), TreeNode(number: parent))
                call.tree.create(call.request, name, in: parent, mode: UInt16(mode & 0o7777), open: nil, .onlyNew) {
                    call.created($0)
                }
            }
        }
        // An object has one name.
        table.link = { request, _, _, _ in if let request { fuse_reply_err(request, EPERM) } }
        table.unlink = { request, parent, name in
            WritableCall.serve(request) { (call) throws(Errno) in
                let name = try WritableCall.name(name, invalid: .noEntry)
                call.tree.unlink(call.request, name, in: TreeNode(number: parent)) { call.done($0, isOnce: true) }
            }
        }
        table.rmdir = { request, parent, name in
            WritableCall.serve(request) { (call) throws(Errno) in
                let (name, parent) = (try WritableCall.name(name, invalid: .noEntry), TreeNode(number: parent))
                call.tree.removeDirectory(call.request, name, in: parent) { call.done($0, isOnce: true) }
            }
        }
        table.rename = { request, parent, name, newParent, newName, flags in
            WritableCall.serve(request) { (call) throws(Errno) in
                guard flags & ~KernelFlag.renameKeeps == 0 else { throw .invalidArgument }
                let (name, parent) = (try WritableCall.name(name, invalid: .noEntry), TreeNode(number: parent))
                let (newName, newParent) = (try WritableCall.name(newName), TreeNode(number: newParent))
                let rule = flags & KernelFlag.renameKeeps == 0 ? RenameRule.replace : .keep
                call.tree.rename(call.request, name, in: parent, to: newName, in: newParent, rule) {
                    call.done($0, isOnce: true)
                }
            }
        }
    }

    // MARK: Files

    private static func setFiles(_ table: inout fuse_lowlevel_ops) {
        table.create = { request, parent, name, mode, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                guard let flags = info?.pointee.flags else { throw .invalidArgument }
                let (name, parent) = (try WritableCall.name(name), TreeNode(number: parent))
                let rule: CreateRule =
                    flags & O_EXCL != 0 ? .onlyNew : flags & O_TRUNC != 0 ? .openTruncated : .open
                let (mode, open) = (UInt16(mode & 0o7777), OpenMode(flags: flags))
                call.tree.create(call.request, name, in: parent, mode: mode, open: open, rule) { call.created($0) }
            }
        }
        table.open = { request, node, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                guard let flags = info?.pointee.flags else { throw .invalidArgument }
                let (node, mode) = (TreeNode(number: node), OpenMode(flags: flags))
                call.tree.open(call.request, node, mode, truncates: flags & O_TRUNC != 0) { call.opened($0) }
            }
        }
        table.read = { request, node, size, offset, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                let handle = try WritableCall.handle(node, info)
                call.tree.read(call.request, handle, at: Int(offset), count: size) { result in
                    switch result {
                    case .success(let bytes): call.reply.bytes(bytes)
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
        table.write = { request, node, bytes, size, offset, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                let handle = try WritableCall.handle(node, info)
                let bytes = UnsafeRawBufferPointer(start: bytes, count: size)
                call.tree.write(call.request, handle, bytes, at: Int(offset)) { result in
                    switch result {
                    case .success: call.reply.written(size)
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
        table.fallocate = { request, node, mode, offset, length, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                // Holes cannot be punched in what may have been uploaded.
                guard mode & ~KernelFlag.allocateKeepsSize == 0 else { throw .notSupported }
                guard offset >= 0, length > 0 else { throw .invalidArgument }
                let end = offset.addingReportingOverflow(length)
                guard !end.overflow else { throw Errno(EFBIG) }
                let handle = try WritableCall.handle(node, info)
                let growsFile = mode & KernelFlag.allocateKeepsSize == 0
                call.tree.allocate(call.request, handle, offset..<end.partialValue, growsFile: growsFile) {
                    call.done($0)
                }
            }
        }
    }

    /// close(2) and fsync(2).
    private static func setSafety(_ table: inout fuse_lowlevel_ops) {
        table.flush = { request, node, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                call.tree.flush(call.request, try WritableCall.handle(node, info)) { call.done($0) }
            }
        }
        table.fsync = { request, node, isDataOnly, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                let handle = try WritableCall.handle(node, info)
                call.tree.synchronize(call.request, handle, isDataOnly: isDataOnly != 0) { call.done($0) }
            }
        }
        table.fsyncdir = { request, node, _, _ in
            WritableCall.serve(request) { call in
                call.tree.synchronizeDirectory(call.request, TreeNode(number: node)) { call.done($0) }
            }
        }
        table.release = { request, node, info in
            WritableCall.serve(request) { (call) throws(Errno) in
                let handle = try WritableCall.handle(node, info)
                call.tree.release(call.request, handle) { call.done($0, isOnce: true) }
            }
        }
    }

    // MARK: Directories

    /// Where a reader is, is all in its offset: a handle has nothing to tell.
    private static func setDirectories(_ table: inout fuse_lowlevel_ops) {
        table.opendir = { request, _, _ in
            guard let request else { return }
            var info = fuse_file_info()
            fuse_reply_open(request, &info)
        }
        table.readdir = { request, node, size, offset, _ in
            list(request, node, size, offset, withAttributes: false)
        }
        table.readdirplus = { request, node, size, offset, _ in
            list(request, node, size, offset, withAttributes: true)
        }
        table.releasedir = { request, _, _ in
            if let request { fuse_reply_err(request, 0) }
        }
    }

    // MARK: Extended attributes

    private static func setExtendedAttributes(_ table: inout fuse_lowlevel_ops) {
        table.getxattr = { request, node, name, size in
            WritableCall.serve(request) { (call) throws(Errno) in
                let name = try WritableCall.attributeName(name)
                call.tree.extendedAttribute(call.request, TreeNode(number: node), name) { result in
                    switch result {
                    case .success(let value): call.reply.extendedAttribute(value, size: size)
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
        table.listxattr = { request, node, size in
            WritableCall.serve(request) { call in
                call.tree.extendedAttributeNames(call.request, TreeNode(number: node)) { result in
                    switch result {
                    case .success(let names):
                        call.reply.extendedAttribute(names.flatMap { Array($0.utf8) + [0] }, size: size)
                    case .failure(let error): call.reply.error(error)
                    }
                }
            }
        }
        table.setxattr = { request, node, name, value, size, flags in
            WritableCall.serve(request) { (call) throws(Errno) in
                let name = try WritableCall.attributeName(name)
                let value = Array(UnsafeRawBufferPointer(start: value, count: size))
                let rule: ExtendedAttributeRule =
                    flags & KernelFlag.attributeIsNew != 0
                    ? .create : flags & KernelFlag.attributeIsThere != 0 ? .replace : .any
                call.tree.setExtendedAttribute(call.request, TreeNode(number: node), name, value, rule) {
                    call.done($0, isOnce: true)
                }
            }
        }
        table.removexattr = { request, node, name in
            WritableCall.serve(request) { (call) throws(Errno) in
                let name = try WritableCall.attributeName(name)
                call.tree.removeExtendedAttribute(call.request, TreeNode(number: node), name) {
                    call.done($0, isOnce: true)
                }
            }
        }
    }
}

/// Flags whose headers Swift's Glibc module does not include. Source: rename(2), fallocate(2), setxattr(2).
private enum KernelFlag {
    static let renameKeeps: UInt32 = 1
    static let allocateKeepsSize: Int32 = 1
    static let attributeIsNew: Int32 = 1
    static let attributeIsThere: Int32 = 2
}

// A free function: see `ReadOnlyOperations`.
private func list(
    _ request: fuse_req_t?,
    _ node: fuse_ino_t,
    _ size: Int,
    _ offset: off_t,
    withAttributes: Bool
) {
    WritableCall.serve(request) { call in
        let (node, offset) = (TreeNode(number: node), max(0, Int(offset)))
        // As many as fit of names with one letter. Source: fuse_dirent, fuse_direntplus of fuse.h.
        let limit = size / (withAttributes ? 160 : 32) + 1
        call.tree.list(call.request, node, after: UInt64(max(0, offset - 2)), limit: limit) { result in
            call.listed(result, of: node, from: offset, size: size, withAttributes: withAttributes)
        }
    }
}
