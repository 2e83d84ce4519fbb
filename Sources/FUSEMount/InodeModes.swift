import Filesystem

/// The number under which the kernel keeps an open file that it may read by itself.
struct BackingID: Hashable, Sendable {
    /// More than 0.
    let number: Int32
}

/// Who reads an inode's bytes for its open handles.
enum InodeMode: Hashable, Sendable {
    /// This process: the kernel caches what it is given.
    case daemon
    /// The kernel, from the file that it keeps.
    case kernel(BackingID)
}

/// The mode of each open inode: decided at its first open, kept until its last release.
///
/// The kernel refuses (EIO) to open an inode in another way than it is open already. It ends its part of a handle before
/// it sends RELEASE, and begins it after it has the reply to OPEN; so whoever counts a handle from before that reply
/// until RELEASE never counts too few. A pure value; `Waiter` is whoever waits while somebody else decides.
struct InodeModes<Waiter> {
    enum Step {
        /// The mode is known, and the open is counted.
        case answer(InodeMode)
        /// The open is the first: find out, then say `decided`.
        case decide
        /// Somebody finds out: `decided` returns the waiter.
        case wait
    }

    private struct Inode {
        var opens = 1
        /// Nil while it is being decided.
        var mode: InodeMode?
        var waiting: [Waiter] = []
    }

    private var inodes: [NodeID: Inode] = [:]

    /// Whether files may be registered with the kernel: not where it does not do it at all.
    private(set) var isUsable = true

    /// Nothing is open.
    init() {}

    /// What another process has left open.
    init(inherited: [OpenInodes.Entry]) {
        for entry in inherited {
            let mode = entry.backing.map { InodeMode.kernel($0) } ?? .daemon
            inodes[entry.node] = Inode(opens: Int(entry.opens), mode: mode)
        }
    }

    /// An OPEN has come.
    mutating func open(_ node: NodeID, _ waiter: @autoclosure () -> Waiter) -> Step {
        guard inodes[node] != nil else {
            inodes[node] = Inode(mode: isUsable ? nil : .daemon)
            return isUsable ? .decide : .answer(.daemon)
        }
        inodes[node]?.opens += 1
        if let mode = inodes[node]?.mode { return .answer(mode) }
        inodes[node]?.waiting.append(waiter())
        return .wait
    }

    /// What the first open has found out.
    ///
    /// - Returns: who has waited for it.
    mutating func decided(_ node: NodeID, _ mode: InodeMode) -> [Waiter] {
        guard var inode = inodes[node], inode.mode == nil else {
            preconditionFailure("the mode of an inode is decided once, by its first open")
        }
        let waiting = inode.waiting
        inode.mode = mode
        inode.waiting = []
        inodes[node] = inode
        return waiting
    }

    /// A handle is released, or the kernel did not want it any more.
    ///
    /// - Returns: what the kernel need not keep any longer.
    mutating func release(_ node: NodeID) -> BackingID? {
        guard var inode = inodes[node] else { return nil }
        inode.opens -= 1
        guard inode.opens == 0 else {
            inodes[node] = inode
            return nil
        }
        inodes[node] = nil
        guard case .kernel(let backing) = inode.mode else { return nil }
        return backing
    }

    /// The kernel has let go of the mount, and sends no RELEASE any more.
    ///
    /// - Returns: what it need not keep any longer, each once. An open that is still being decided ends by `release`.
    mutating func end() -> [BackingID] {
        isUsable = false
        var left: [BackingID] = []
        for (node, inode) in inodes {
            guard case .kernel(let backing) = inode.mode else { continue }
            left.append(backing)
            inodes[node]?.mode = .daemon
        }
        return left
    }

    /// The kernel does no passthrough on this mount: inodes that are opened from now on are read by this process.
    ///
    /// - Returns: whether that is news.
    mutating func refuse() -> Bool {
        defer { isUsable = false }
        return isUsable
    }

    /// The mode of an inode that is open; nil for others.
    func mode(of node: NodeID) -> InodeMode? { inodes[node]?.mode }

    /// The open inodes that the kernel reads by itself.
    var nodesReadByKernel: [NodeID] {
        inodes.compactMap { node, inode in
            if case .kernel? = inode.mode { node } else { nil }
        }
    }

    /// Handles that are counted.
    var openCount: Int { inodes.values.reduce(0) { $0 + $1.opens } }
}
