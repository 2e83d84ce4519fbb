package import LinuxPlatform

// What a `WritableTree` is asked with, and answers.

/// A request of the kernel's: whose answer, and on whose behalf.
package struct TreeRequest: Hashable, Sendable {
    /// The kernel's number, without the mark of one that was sent again. Not used twice in the life of a mount; never 0.
    ///
    /// Source: fuse_in_header.unique of fuse.h.
    package let number: UInt64
    /// A process that is dead now may have done it.
    package let isResent: Bool
    /// Who asks; the owner of what is made. Zeros where the kernel writes pages of a mapping.
    package let user: UInt32
    package let group: UInt32
    /// The thread that waits for the answer, by its number here; 0 where it has none, as in another container.
    package let thread: Int32

    package init(number: UInt64, isResent: Bool = false, user: UInt32 = 0, group: UInt32 = 0, thread: Int32 = 0) {
        self.number = number
        self.isResent = isResent
        self.user = user
        self.group = group
        self.thread = thread
    }
}

/// A file, directory or link as the kernel names it: `NameNode.number` + 1, for the kernel's root is 1. Also shown as st_ino.
package struct TreeNode: Hashable, Comparable, Sendable {
    package let number: UInt64

    package static let root = TreeNode(number: 1)

    package init(number: UInt64) { self.number = number }

    init(_ node: NameNode) { number = UInt64(node.number) + 1 }

    /// Nil for what can be none.
    var nameNode: NameNode? { number > 0 ? Int(exactly: number - 1).map { NameNode(number: $0) } : nil }

    package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
}

/// What may be done through a handle.
package struct OpenMode: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let read = Self(rawValue: 1)
    package static let write = Self(rawValue: 2)
    /// O_APPEND. Offsets are the kernel's all the same.
    package static let append = Self(rawValue: 4)
}

/// An open file. All that there is to know of it, so every process of the mount has the same: the kernel gives back
/// node and number with each request. Handles of the same node and mode are alike, and counted.
package struct TreeHandle: Hashable, Sendable {
    package let node: TreeNode
    package let mode: OpenMode

    package init(_ node: TreeNode, _ mode: OpenMode) {
        self.node = node
        self.mode = mode
    }

    /// - Parameter number: of a handle; of anything else only what is known is taken.
    package init(_ node: TreeNode, number: UInt64) {
        self.init(node, OpenMode(rawValue: UInt8(truncatingIfNeeded: number & 7)))
    }

    /// What the kernel keeps.
    package var number: UInt64 { UInt64(mode.rawValue) }
}

/// The answer to an open.
package struct TreeFile: Hashable, Sendable {
    package var handle: TreeHandle
    /// What the kernel has of the file's bytes is still good. It is, unless something else than this mount has changed them.
    package var keepsCache: Bool

    package init(_ handle: TreeHandle, keepsCache: Bool = true) {
        self.handle = handle
        self.keepsCache = keepsCache
    }
}

/// What a node is; other kinds are not made.
package enum TreeKind: Hashable, Sendable {
    case file
    case directory
    case link
}

/// What stat(2) shows.
package struct TreeAttributes: Hashable, Sendable {
    package var node: TreeNode
    package var kind: TreeKind
    /// It has a name. Shown as one link, else none: lock files are watched so.
    package var isNamed: Bool
    /// In bytes: of a file also what is declared and not written yet; of a link the length of its target; 0 for directories.
    package var size: Int
    /// Permission bits. Of files 0o777: set-user-ID, set-group-ID and sticky are not kept, so a write need not clear them; of
    /// directories 0o7777.
    package var mode: UInt16
    package var user: UInt32
    package var group: UInt32
    /// As utimensat(2) set it, else `modified`: reading does not change it.
    package var accessed: UnixTime
    /// Of a directory: when a name in it was last made, removed or renamed. Trainers order their checkpoints by it.
    package var modified: UnixTime
    package var changed: UnixTime

    package init(
        node: TreeNode,
        kind: TreeKind,
        isNamed: Bool = true,
        size: Int,
        mode: UInt16,
        user: UInt32,
        group: UInt32,
        accessed: UnixTime,
        modified: UnixTime,
        changed: UnixTime
    ) {
        self.node = node
        self.kind = kind
        self.isNamed = isNamed
        self.size = size
        self.mode = mode
        self.user = user
        self.group = group
        self.accessed = accessed
        self.modified = modified
        self.changed = changed
    }
}

/// A node, and how long the kernel may believe what is said of it. What is written through the mount needs no bound.
package struct TreeEntry: Hashable, Sendable {
    package var attributes: TreeAttributes
    package var validUntil: MonotonicInstant

    package init(_ attributes: TreeAttributes, validUntil: MonotonicInstant) {
        self.attributes = attributes
        self.validUntil = validUntil
    }
}

/// What stands under a name.
package struct TreeLookup: Hashable, Sendable {
    /// Nil: nothing.
    package var attributes: TreeAttributes?
    /// After this the name may mean something else.
    package var validUntil: MonotonicInstant

    package init(_ attributes: TreeAttributes?, validUntil: MonotonicInstant) {
        self.attributes = attributes
        self.validUntil = validUntil
    }
}

/// What setattr is to change; nil stays.
package struct AttributeChanges: Hashable, Sendable {
    package enum Time: Hashable, Sendable {
        /// By the tree's clock.
        case now
        case at(UnixTime)
    }

    package var size: Int?
    /// Permission bits, as in `TreeAttributes.mode`; others are left out by the tree, without an error.
    package var mode: UInt16?
    package var user: UInt32?
    package var group: UInt32?
    package var accessed: Time?
    package var modified: Time?

    package init() {}
}

/// What a rename does with something that has the new name.
package enum RenameRule: Hashable, Sendable {
    case replace
    /// RENAME_NOREPLACE.
    case keep
}

/// What a create does with a file that is there.
package enum CreateRule: Hashable, Sendable {
    /// O_EXCL, mknod(2): `exists`.
    case onlyNew
    case open
    /// O_TRUNC, as in `open`.
    case openTruncated
}

/// Source: setxattr(2).
package enum ExtendedAttributeRule: Hashable, Sendable {
    case any
    /// XATTR_CREATE: it must be new.
    case create
    /// XATTR_REPLACE: it must be there.
    case replace
}

/// Some names of a directory.
package struct TreeListing: Sendable {
    package struct Line: Sendable {
        package var name: String
        /// More than 0, below 2⁶².
        package var cookie: UInt64
        package var attributes: TreeAttributes

        package init(name: String, cookie: UInt64, attributes: TreeAttributes) {
            self.name = name
            self.cookie = cookie
            self.attributes = attributes
        }
    }

    package var lines: [Line]
    /// Of the directory; of the root itself.
    package var parent: TreeNode
    /// After this the names may mean something else.
    package var validUntil: MonotonicInstant

    package init(lines: [Line], parent: TreeNode, validUntil: MonotonicInstant) {
        self.lines = lines
        self.parent = parent
        self.validUntil = validUntil
    }
}

/// In bytes and in files.
package struct TreeSpace: Hashable, Sendable {
    package var totalBytes: Int
    package var freeBytes: Int
    package var files: Int

    package init(totalBytes: Int, freeBytes: Int, files: Int) {
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
        self.files = files
    }
}

/// What the kernel must not believe any longer.
package enum TreeChange: Hashable, Sendable {
    /// A name means something else.
    case name(String, in: TreeNode)
    /// A node has other attributes, and other bytes.
    case content(TreeNode)
}
