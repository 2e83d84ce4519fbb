package import LinuxPlatform

/// A tree of files that is written to: all that a mount asks of it, in terms that know neither the kernel's protocol nor
/// where the bytes go. Its values stand in WritableTreeValues.swift.
///
/// **Completions** are called exactly once, on any thread, also before the call returns, with no lock held. A call never
/// blocks for long: it is made on a thread that other requests wait for. What must wait (for the network, for room, for
/// the disk to be synchronized) completes later. Errors are the kernel's, as the manual page of the system call has them.
///
/// **Names** are 1 to 255 bytes of UTF-8 without `/` and NUL, and not `.` or `..`; the mount has checked that. They are the same
/// when their bytes are: Swift's `==` also takes the NFC and the NFD spelling of a word for one name, and must not be used.
///
/// **A request that is sent again.** When the process that serves a mount dies, the kernel sends what was not answered to
/// the next one, with `TreeRequest.isResent`. It may have been done. So a call that is marked *once* writes its number and
/// its answer down together with what it changes, before it completes; with `isResent` it looks for its number first, and
/// gives the old answer. Calls that are not marked may be done again: that changes nothing, because the kernel lets no
/// other change of the same thing pass a request without an answer. Numbers begin anew with each *mount* (not with each
/// process): what was written down of an earlier mount must not be found any more.
///
/// **Nodes** are numbers that mean the same in each process of one mount, and are not used again in it. A node is
/// valid while it has a name or a handle, whatever was forgotten; else until the kernel has forgotten it, or `stale`.
/// Open handles are counted by the tree, by `open`, `create` and `release`, in the same records: the count must be right
/// also after a process has died, for the last `release` is what seals a file, and drops one without a name.
package protocol WritableTree: AnyObject, Sendable {
    /// Gets the answer of a call.
    typealias Completion<Value> = @Sendable (Result<Value, Errno>) -> Void

    // MARK: Names

    /// What stands under a name, nil for nothing. Counts one lookup of a node that is found.
    ///
    /// Fails with `notDirectory`, `stale`, or what the bucket said.
    func lookup(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<TreeLookup>
    )

    /// The kernel was told of a node by a listing: counts one lookup, as `lookup` does.
    func remember(_ node: TreeNode)

    /// The kernel forgets so many lookups of a node. After a process has died, some may never be forgotten; those that the dead
    /// one has counted and the next one does not know are forgotten with the others, so the number may be too high.
    func forget(_ node: TreeNode, lookups: UInt64)

    /// What stat(2) shows, of nodes without a name that are open, too. Sizes and times after all writes that have completed.
    ///
    /// Fails with `stale`.
    func attributes(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<TreeEntry>)

    /// Changes attributes, all or none of them; shows them afterwards. The kernel has checked who may.
    ///
    /// A size below that of the file cuts it. One above it fills it up with zeros; for a file that has no byte yet it only
    /// *declares* how much will come. Every change sets `changed`; a change of size sets `modified` unless it is given.
    /// May be repeated.
    ///
    /// - Parameter handle: through which the size is changed (ftruncate(2)); nil: by its path.
    ///
    /// Fails with `isDirectory` (a size for what is no file), `EFBIG`, `noSpace`, `stale`.
    func setAttributes(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ changes: AttributeChanges,
        through handle: TreeHandle?,
        _ completion: @escaping Completion<TreeEntry>
    )

    /// Makes a directory, owned by the caller. *Once.* Counts one lookup.
    ///
    /// - Parameter mode: permission bits, after the umask.
    ///
    /// Fails with `exists`, `notDirectory`, `noEntry` (the directory was removed), `noSpace`.
    func makeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        _ completion: @escaping Completion<TreeEntry>
    )

    /// Makes a symbolic link, owned by the caller. *Once.* Counts one lookup.
    ///
    /// - Parameter target: 1 to 4095 bytes, kept as they are.
    ///
    /// Fails as `makeDirectory`.
    func makeLink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        target: String,
        _ completion: @escaping Completion<TreeEntry>
    )

    /// The target of a symbolic link. Fails with `invalidArgument` for other things, and `stale`.
    func linkTarget(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<String>)

    /// Takes the name of a file or link away. *Once.* What is open is read and written on until its last `release`.
    ///
    /// Fails with `noEntry`, `isDirectory`.
    func unlink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    )

    /// Removes a directory that holds nothing. *Once.*
    ///
    /// Fails with `noEntry`, `notDirectory`, `ENOTEMPTY`.
    func removeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    )

    /// Gives what stands under a name another, at once and whole: files that are open or not published, and directories
    /// with all below. *Once.* Two names of one node: nothing happens.
    ///
    /// Fails as rename(2): `noEntry`, `exists` (with `.keep`), `isDirectory`, `notDirectory`, `ENOTEMPTY`,
    /// `invalidArgument` (a directory into itself); `EXDEV` where the tree cannot do it whole. Then nothing has changed.
    func rename(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        to newName: String,
        in newDirectory: TreeNode,
        _ rule: RenameRule,
        _ completion: @escaping Completion<Void>
    )

    /// Names of a directory in the order of their cookies, without `.` and `..`. Counts no lookup.
    ///
    /// A cookie belongs to a name for as long as that stands, and to no other later: whoever goes on from any cookie gets each
    /// name that stood all the while exactly once, whatever was made, removed or renamed in between, also by another process of
    /// the mount, and also when the name of the cookie is gone.
    ///
    /// - Parameters:
    ///   - cookie: after which to go on; 0: from the beginning, as the bucket and this mount have it now.
    ///   - limit: 1 or more names are wanted; fewer mean that the directory ends.
    ///
    /// Fails with `notDirectory`, `stale`, or what the bucket said.
    func list(
        _ request: TreeRequest,
        _ directory: TreeNode,
        after cookie: UInt64,
        limit: Int,
        _ completion: @escaping Completion<TreeListing>
    )

    /// fsync(2) of a directory: completes when the names that it has, and what files below it hold that was closed, are as
    /// safe as the mount promises.
    func synchronizeDirectory(
        _ request: TreeRequest,
        _ directory: TreeNode,
        _ completion: @escaping Completion<Void>
    )

    // MARK: Files

    /// Makes a file, owned by the caller, or, when there is one and `rule` allows it, opens that. *Once.* Counts one lookup, and
    /// one handle when it is opened.
    ///
    /// - Parameters:
    ///   - mode: permission bits of a new file, after the umask. They do not restrict this handle.
    ///   - open: nil: a new file is made and not opened (mknod(2)).
    ///   - rule: what to do with a file that is there.
    ///
    /// Fails with `exists`, `isDirectory`, `ELOOP` (a link stands there), `noEntry`, `noSpace`.
    func create(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        open: OpenMode?,
        _ rule: CreateRule,
        _ completion: @escaping Completion<(entry: TreeEntry, file: TreeFile?)>
    )

    /// Opens a file. *Once.* Counts one handle.
    ///
    /// - Parameter truncates: O_TRUNC: it is empty for everybody from now on; what stands in the bucket stays until the new
    ///   content is whole.
    ///
    /// Fails with `isDirectory`, `stale`, `noSpace`, or what the bucket said.
    func open(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ mode: OpenMode,
        truncates: Bool,
        _ completion: @escaping Completion<TreeFile>
    )

    /// Bytes, with all writes that have completed in them; fewer than asked for only at the file's end. They are valid until
    /// `completion` returns.
    ///
    /// - Parameter count: 1 MiB at most.
    ///
    /// Fails with `stale`, `inputOutput`, `timedOut`.
    func read(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        at offset: Int,
        count: Int,
        _ completion: @escaping Completion<[UnsafeRawBufferPointer]>
    )

    /// Writes all of the bytes, or fails; then any of them may be there. Sets `modified` and `changed`. May be repeated.
    ///
    /// What comes from mappings is written through any handle of the file that may write. The kernel has turned O_APPEND into an
    /// offset.
    ///
    /// - Parameter bytes: 1 MiB at most; valid until the call (not its completion) returns.
    ///
    /// Fails with `noSpace`, `EFBIG`, `inputOutput`.
    func write(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        _ completion: @escaping Completion<Void>
    )

    /// A descriptor of the handle is closed (close(2)), maybe not the last one; what the mount promises of close(2) holds when
    /// this completes. Not called for handles that only read. Bytes of a mapping may still come. May be repeated.
    ///
    /// Fails with what became of the content: the writer is told here, or at an fsync.
    func flush(_ request: TreeRequest, _ handle: TreeHandle, _ completion: @escaping Completion<Void>)

    /// fsync(2), fdatasync(2): completes when what was written before the call is as safe as the mount promises.
    ///
    /// - Parameter isDataOnly: times and permissions need not be safe; the size must be.
    ///
    /// Fails when it is not; then, until the content is published or dropped, each time.
    func synchronize(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        isDataOnly: Bool,
        _ completion: @escaping Completion<Void>
    )

    /// Makes sure that later writes to the range do not fail for lack of room (fallocate(2)). May be repeated.
    ///
    /// - Parameter growsFile: the file is at least so long afterwards, filled up with zeros.
    ///
    /// Fails with `noSpace`, `EFBIG`.
    func allocate(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ range: Range<Int>,
        growsFile: Bool,
        _ completion: @escaping Completion<Void>
    )

    /// A handle has ended: all of its descriptors, and mappings. *Once.* Nobody is told of an error any more.
    ///
    /// - Parameter request: nil: the kernel did not take the answer to the open.
    func release(_ request: TreeRequest?, _ handle: TreeHandle, _ completion: @escaping Completion<Void>)

    // MARK: Extended attributes

    /// The value of an extended attribute. Only names that begin with `user.` get here, by all three calls.
    ///
    /// Fails with `noData` when there is none, and `stale`.
    func extendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<[UInt8]>
    )

    /// The names of all extended attributes, in any order.
    func extendedAttributeNames(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ completion: @escaping Completion<[String]>
    )

    /// Sets an extended attribute. *Once.*
    ///
    /// Fails with `exists` (`.create`), `noData` (`.replace`), `noSpace` when the bucket could not keep all of them, and
    /// `permission` for those that the tree makes itself.
    func setExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ value: [UInt8],
        _ rule: ExtendedAttributeRule,
        _ completion: @escaping Completion<Void>
    )

    /// Removes an extended attribute. *Once.*
    ///
    /// Fails with `noData`, and `permission` for those that the tree makes itself.
    func removeExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<Void>
    )

    // MARK: The mount

    /// What statfs(2) shows: how much may still be written.
    func space(_ request: TreeRequest, _ completion: @escaping Completion<TreeSpace>)

    /// A signal has come for who waits for a request; it need not be one that ends the process. A call that waits and has
    /// changed nothing may complete with `interrupted`; others go on, and complete as if nothing had been. Requests that are
    /// unknown, or over, are nothing.
    func interrupt(_ request: TreeRequest)

    /// The kernel has the answer to a call that is done *once*: it will not be sent again, and what was written down of it may
    /// be dropped. Not called when a process dies between the answer and this.
    func answered(_ request: TreeRequest)

    /// Asks to be told of what changes without a request of the kernel. Called once, before any other call. The observer returns
    /// at once, and is called with no lock held.
    func observe(_ observer: @escaping @Sendable (TreeChange) -> Void)
}
