import CFuse3
import CLinux
import Filesystem
import Glibc
import LinuxPlatform
import WriteBack

/// One request of the kernel to a writable mount, from its callback to its answer.
///
/// An interrupt does not end it: only the tree knows what has been done, and answers when it is.
struct WritableCall: Sendable {
    let request: TreeRequest
    let reply: FUSEReply
    let tree: any WritableTree

    /// Runs a callback: `body` asks the tree, or throws what the request is answered with.
    static func serve(_ request: fuse_req_t?, _ body: (WritableCall) throws(Errno) -> Void) {
        guard let request else { return }
        guard let session = WritableSession.of(request) else {
            fuse_reply_err(request, EIO)
            return
        }
        let call = WritableCall(request, session)
        do throws(Errno) { try body(call) } catch { call.reply.error(error) }
        // One that came before the tree knew of the request was for nothing.
        if call.reply.isInterrupted { call.tree.interrupt(call.request) }
    }

    private init(_ request: fuse_req_t, _ session: WritableSession) {
        let unique = CurrentRequest.unique
        let context = fuse_req_ctx(request)?.pointee
        let asked = TreeRequest(
            number: RequestHeader.number(unique),
            isResent: unique & clinux_fuse_unique_resend != 0,
            user: context?.uid ?? 0,
            group: context?.gid ?? 0,
            thread: context?.pid ?? 0
        )
        let tree = session.tree
        let number = session.activity.newNumber()
        self.request = asked
        self.tree = tree
        reply = FUSEReply(request, session.activity, number: number) { tree.interrupt(asked) }
        FUSEOperations.listenForInterrupts(request, number)
    }

    // MARK: What the kernel gives

    /// - Parameter invalid: what a name that is not UTF-8 fails with: the bucket could not have it.
    static func name(_ bytes: UnsafePointer<CChar>?, invalid: Errno = Errno(EILSEQ)) throws(Errno) -> String {
        guard let bytes else { throw .invalidArgument }
        guard strlen(bytes) <= EntryName.maximumLength else { throw .nameTooLong }
        guard let text = String(validatingCString: bytes) else { throw invalid }
        guard let name = EntryName(text) else { throw .invalidArgument }
        return name.value
    }

    /// Only the namespace `user` is known: see `ReadOnlySession.extendedAttribute`.
    static func attributeName(_ bytes: UnsafePointer<CChar>?) throws(Errno) -> String {
        guard let bytes, let name = String(validatingCString: bytes), name.utf8.starts(with: "user.".utf8) else {
            throw .notSupported
        }
        return name
    }

    static func handle(_ node: fuse_ino_t, _ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> TreeHandle {
        guard let info else { throw Errno(EBADF) }
        return TreeHandle(TreeNode(number: node), number: info.pointee.fh)
    }

    // MARK: Answers

    /// What is done once is told to be over: the kernel has the answer, or nobody waits for it.
    private func finish(_ isOnce: Bool) { if isOnce { tree.answered(request) } }

    func done(_ result: Result<Void, Errno>, isOnce: Bool = false) {
        switch result {
        case .success: reply.success()
        case .failure(let error): reply.error(error)
        }
        finish(isOnce)
    }

    func found(_ result: Result<TreeLookup, Errno>) {
        switch result {
        case .success(let found):
            let isKnown = reply.entry(WritableSession.entry(found.attributes, until: found.validUntil))
            if !isKnown, let node = found.attributes?.node { tree.forget(node, lookups: 1) }
        case .failure(let error): reply.error(error)
        }
    }

    func made(_ result: Result<TreeEntry, Errno>) {
        switch result {
        case .success(let entry):
            let isKnown = reply.entry(WritableSession.entry(entry.attributes, until: entry.validUntil))
            if !isKnown { tree.forget(entry.attributes.node, lookups: 1) }
        case .failure(let error): reply.error(error)
        }
        finish(true)
    }

    func attributes(_ result: Result<TreeEntry, Errno>) {
        switch result {
        case .success(let entry):
            let timeout = WritableSession.timeout(until: entry.validUntil)
            reply.attributes(WritableSession.status(entry.attributes), timeout: timeout)
        case .failure(let error): reply.error(error)
        }
    }

    func opened(_ result: Result<TreeFile, Errno>) {
        switch result {
        case .success(let file):
            if !reply.opened(WritableSession.info(file)) { tree.release(nil, file.handle) { _ in } }
        case .failure(let error): reply.error(error)
        }
        finish(true)
    }

    func created(_ result: Result<(entry: TreeEntry, file: TreeFile?), Errno>) {
        switch result {
        case .success((let entry, let file?)):
            let line = WritableSession.entry(entry.attributes, until: entry.validUntil)
            if !reply.created(line, WritableSession.info(file)) {
                tree.forget(entry.attributes.node, lookups: 1)
                tree.release(nil, file.handle) { _ in }
            }
            finish(true)
        case .success((let entry, nil)): made(.success(entry))
        case .failure(let error): made(.failure(error))
        }
    }

    /// Offsets are 1 after `.`, 2 after `..`, and 2 more than the tree's cookies after names.
    func listed(
        _ result: Result<TreeListing, Errno>,
        of node: TreeNode,
        from offset: Int,
        size: Int,
        withAttributes: Bool
    ) {
        switch result {
        case .success(let listing):
            var page = DirectoryBuffer(size: size, withAttributes: withAttributes)
            defer { page.deallocate() }
            let dots = [node.number, listing.parent.number]
            for which in min(offset, 2)..<2 { _ = page.addDot(which, number: dots[which]) }
            for line in listing.lines {
                // Only what fits is told to the kernel, and so counted.
                guard page.hasRoom(for: line.name) else { break }
                if withAttributes { tree.remember(line.attributes.node) }
                let entry = WritableSession.entry(line.attributes, until: listing.validUntil)
                guard page.add(line.name, entry, offset: Int(line.cookie) + 2) else { break }
            }
            reply.buffer(page.bytes)
        case .failure(let error): reply.error(error)
        }
    }
}
