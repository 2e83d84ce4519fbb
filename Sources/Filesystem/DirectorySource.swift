package import Checksums
package import LinuxPlatform
package import ObjectStorage
import Synchronization

/// What is known of a file before any of its bytes are read.
package final class FileFacts: Sendable {
    package let object: ObjectName
    package let generation: Generation
    /// In bytes.
    package let size: Int
    package let modified: UnixTime
    package let crc32c: CRC32C?
    /// Lower-case hexadecimal digits.
    package let sha256: String?
    package let commit: String?
    /// Whether a table of granule CRCs belongs to it.
    package let hasTable: Bool
    /// Where it leads, if it is a symbolic link.
    package let link: String?

    package init(
        object: ObjectName,
        generation: Generation,
        size: Int,
        modified: UnixTime,
        crc32c: CRC32C?,
        sha256: String? = nil,
        commit: String? = nil,
        hasTable: Bool = false,
        link: String? = nil
    ) {
        self.object = object
        self.generation = generation
        self.size = size
        self.modified = modified
        self.crc32c = crc32c
        self.sha256 = sha256
        self.commit = commit
        self.hasTable = hasTable
        self.link = link
    }
}

/// One line of a directory.
package struct DirectoryEntry: Sendable {
    package let name: EntryName
    /// Nil: a directory.
    package let file: FileFacts?
    package let modified: UnixTime

    package init(file: FileFacts, name: EntryName) {
        self.name = name
        self.file = file
        modified = file.modified
    }

    package init(directory name: EntryName, modified: UnixTime) {
        self.name = name
        file = nil
        self.modified = modified
    }

    package var isDirectory: Bool { file == nil }
    package var isLink: Bool { file?.link != nil }
    /// What stat(2) shows of it, in bytes: of a link, how long the path is that it leads to.
    var shownSize: Int { file.map { $0.link?.utf8.count ?? $0.size } ?? 0 }
    /// 0 for a directory.
    package var generation: Generation { file?.generation ?? Generation(0) }
}

/// Everything in one directory at one moment, in byte order of names.
package final class DirectoryListing: Sendable {
    private static let lastSerial = Atomic<UInt64>(0)

    package let entries: DirectoryEntries
    /// Names of the directories among them, in the same order.
    package let directories: [EntryName]
    /// After this it is to be asked for again.
    package let validUntil: MonotonicInstant
    /// Of all files in it.
    package let bytes: Int
    /// No other listing of this process has it.
    package let serial: UInt64

    package init(_ entries: DirectoryEntries, validUntil: MonotonicInstant) {
        self.entries = entries
        directories = entries.indices.filter(entries.isDirectory).map(entries.name)
        bytes = entries.totalSize
        self.validUntil = validUntil
        serial = Self.lastSerial.add(1, ordering: .relaxed).newValue
    }

    /// - Parameters:
    ///   - entries: in any order; of a name that comes twice one is shown, a directory rather than a file.
    ///   - base: what the names of the objects begin with.
    package convenience init(_ entries: [DirectoryEntry], below base: String, validUntil: MonotonicInstant) {
        var builder = DirectoryEntries.Builder(base: base)
        for entry in entries { builder.append(entry) }
        self.init(builder.finish { _ in }, validUntil: validUntil)
    }

    package subscript(_ name: EntryName) -> DirectoryEntry? { line(of: name).map { entries[$0] } }

    /// Where in `entries` a name stands.
    package func line(of name: EntryName) -> Int? {
        let (index, isThere) = entries.position(of: name)
        return isThere ? index : nil
    }

    /// Names that mean something else in `other`, or are only in one of the two; in order.
    func changes(to other: DirectoryListing) -> [EntryName] {
        var changed: [EntryName] = []
        var (mine, theirs) = (entries[...], other.entries[...])
        while let left = mine.first, let right = theirs.first {
            if left.name == right.name {
                let isSame = left.isDirectory == right.isDirectory && left.generation == right.generation
                if !isSame { changed.append(left.name) }
                mine.removeFirst()
                theirs.removeFirst()
            } else if left.name < right.name {
                changed.append(left.name)
                mine.removeFirst()
            } else {
                changed.append(right.name)
                theirs.removeFirst()
            }
        }
        return changed + mine.map(\.name) + theirs.map(\.name)
    }
}

/// Knows what stands in the directories of a mount.
package protocol DirectorySource: AnyObject, Sendable {
    /// Nothing in it ever changes: the kernel may remember it for as long as the mount lives.
    var isFixed: Bool { get }
    /// When the snapshot, or the mount, was made.
    var modified: UnixTime { get }
    /// Files and their bytes as far as they are known, for statfs(2).
    var totals: (files: Int, bytes: Int) { get }

    /// A listing that is still valid, without any I/O.
    ///
    /// - Parameter path: names parted by `/`; empty for the root.
    func known(_ path: String) -> DirectoryListing?

    /// The last listing there was, maybe one that is over: right of what has the generation that it names.
    func lastKnown(_ path: String) -> DirectoryListing?

    /// Gets the listing. The completion is called exactly once, maybe before this returns, with no lock held.
    func load(
        _ path: String,
        _ completion: @escaping @Sendable (Result<DirectoryListing, FilesystemError>) -> Void
    )

    /// Somebody has opened the directory to read it, and may go on with others: they may be got before that.
    func opened(_ path: String)

    /// The store has shown that what the directory's listing says is over: nothing more is answered from it.
    func distrust(_ path: String)

    /// Asks to be told of names that mean something else than an earlier answer, which was still to be believed, had said.
    ///
    /// - Parameter changed: the directory and names in it; called with no lock held, on any thread.
    func observe(_ changed: @escaping @Sendable (_ path: String, _ names: [EntryName]) -> Void)
}

/// For sources in which nothing changes.
extension DirectorySource {
    package func lastKnown(_ path: String) -> DirectoryListing? { known(path) }
    package func opened(_ path: String) {}
    package func distrust(_ path: String) {}
    package func observe(_ changed: @escaping @Sendable (_ path: String, _ names: [EntryName]) -> Void) {}
}
