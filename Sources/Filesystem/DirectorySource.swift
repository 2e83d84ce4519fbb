package import Checksums
package import LinuxPlatform
package import ObjectStorage

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

    package init(
        object: ObjectName,
        generation: Generation,
        size: Int,
        modified: UnixTime,
        crc32c: CRC32C?,
        sha256: String? = nil,
        commit: String? = nil,
        hasTable: Bool = false
    ) {
        self.object = object
        self.generation = generation
        self.size = size
        self.modified = modified
        self.crc32c = crc32c
        self.sha256 = sha256
        self.commit = commit
        self.hasTable = hasTable
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
    /// 0 for a directory.
    package var generation: Generation { file?.generation ?? Generation(0) }
}

/// Everything in one directory at one moment, in byte order of names.
package final class DirectoryListing: Sendable {
    package let entries: [DirectoryEntry]
    /// After this it is to be asked for again.
    package let validUntil: MonotonicInstant
    private let index: [EntryName: Int]

    /// - Parameter entries: no name twice; in any order.
    package init(_ entries: [DirectoryEntry], validUntil: MonotonicInstant) {
        self.entries = entries.sorted { $0.name < $1.name }
        self.validUntil = validUntil
        index = Dictionary(uniqueKeysWithValues: self.entries.enumerated().map { ($1.name, $0) })
    }

    package subscript(_ name: EntryName) -> DirectoryEntry? { index[name].map { entries[$0] } }
}

/// Knows what stands in the directories of a mount.
package protocol DirectorySource: AnyObject, Sendable {
    /// Nothing in it ever changes: the kernel may remember it for as long as the mount lives.
    var isFixed: Bool { get }
    /// How long an answer, also "there is none", may be believed.
    var timeToLive: Duration { get }
    /// When the snapshot, or the mount, was made.
    var modified: UnixTime { get }
    /// Files and their bytes as far as they are known, for statfs(2).
    var totals: (files: Int, bytes: Int) { get }

    /// A listing that is still valid, without any I/O.
    ///
    /// - Parameter path: names parted by `/`; empty for the root.
    func known(_ path: String) -> DirectoryListing?

    /// Gets the listing. The completion is called exactly once, maybe before this returns, with no lock held.
    func load(
        _ path: String,
        _ completion: @escaping @Sendable (Result<DirectoryListing, FilesystemError>) -> Void
    )
}
