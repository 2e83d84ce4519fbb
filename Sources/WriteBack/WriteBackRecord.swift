import Checksums
import LinuxPlatform
import ObjectStorage

/// What stands in the bucket, as far as it must be known to recognise it.
struct ObjectIdentity: Hashable, Sendable {
    var generation: Generation
    var size: Int
    var crc32c: CRC32C?

    init(generation: Generation, size: Int, crc32c: CRC32C?) {
        self.generation = generation
        self.size = size
        self.crc32c = crc32c
    }

    init(_ attributes: ObjectAttributes) {
        self.init(generation: attributes.generation, size: attributes.size, crc32c: attributes.crc32c)
    }
}

/// A write to a name of the bucket that is under way, or was when a process died: recorded before its first request.
struct WriteIntent: Hashable, Sendable {
    /// `publish`, `move` or `keep`.
    var action: NameAction
    /// Unguessable; stands in the metadata of what `publish` writes.
    var operation: String

    init(action: NameAction, operation: String) {
        self.action = action
        self.operation = operation
    }
}

/// The one kind of record of a mount's journal: something happened, to whom, and by which request of the kernel.
///
/// State changes by records alone (`WriteBackState.apply`), in a running process as in the next one that reads them.
struct WriteBackRecord: Hashable, Sendable {
    /// Zero: no request of the kernel that is done once.
    var request: UInt64
    var event: Event

    init(_ event: Event, request: UInt64 = 0) {
        self.event = event
        self.request = request
    }

    enum Event: Hashable, Sendable {
        // Names.
        /// A new file; open once, for writing or not, or not at all.
        case created(ByteName, in: NameNode, NodeAttributes, handle: Handle)
        case madeDirectory(ByteName, in: NameNode, NodeAttributes)
        case removedDirectory(ByteName, in: NameNode, UnixTime)
        /// A listing showed an object.
        case adopted(ByteName, in: NameNode, ObjectIdentity, NodeAttributes)
        /// A listing showed a directory.
        case adoptedDirectory(ByteName, in: NameNode, NodeAttributes)
        /// An adopted file that nobody here has changed stands there no longer.
        case vanished(ByteName, in: NameNode)
        /// A listing showed that others have written anew what was adopted, and nobody here has changed.
        case superseded(ByteName, in: NameNode, ObjectIdentity, NodeAttributes)
        case unlinked(ByteName, in: NameNode, UnixTime)
        case renamed(ByteName, in: NameNode, to: ByteName, newDirectory: NameNode, isReplacing: Bool, UnixTime)
        case opened(NameNode, Handle)
        case closed(NameNode, Handle)
        /// No handle of an earlier mount is open any more, and no request of it will come again.
        case detached
        case attributes(NameNode, NodeAttributes)
        // Bytes.
        /// The file has a staging file of this number; of the replaced object so many bytes show through.
        case staged(NameNode, number: Int, kept: Int)
        /// Bytes of the range are about to change.
        case overwriting(NameNode, Range<Int>)
        /// Bytes were handed to the kernel.
        case wrote(NameNode, Range<Int>, [ChecksumRuns.Run], UnixTime)
        case truncated(NameNode, Int, UnixTime)
        /// These ranges are on stable storage.
        case synced(NameNode, ExtentMap)
        /// A synchronization failed: nobody knows what is.
        case unsynced(NameNode, Errno)
        /// The staging file is not what it should be: the content is lost.
        case damaged(NameNode)
        /// The checksums of these ranges are not those of the bytes on the disk.
        case unproven(NameNode, [Range<Int>])
        /// The staging file is not needed any more.
        case unstaged(NameNode)
        // The bucket.
        case session(NameNode, UploadRecord)
        case sessionEnded(NameNode, part: Int)
        /// The content is whole.
        case ready(NameNode, content: Int)
        case began(WriteIntent)
        /// An intent is over; what it wrote has this identity.
        case ended(NameNode, content: Int, NameOutcome, ObjectIdentity?)
        case expired(ByteName)
        case deleted(ByteName, Generation)
        /// With the folder that it is in, an object got another generation: known by the name from before.
        case regenerated(ByteName, Generation)
        /// The object's metadata says what the attributes are, or others wrote the object.
        case patched(NameNode)
        // Saves of trainers; see `SaveLedger`.
        /// The directory, as it is, is a checkpoint with a record.
        case recorded(NameNode)
        /// No record is left of a directory that has lost this name.
        case withdrawn(ByteName)
        // Of checkpoints only.
        case counters(node: Int, cookie: Int, content: Int, parked: Int, staging: Int)
        case node(NameNode, NameTree.Entry)
        case name(NameNode, NameTable.File)
        case standing(ByteName, NameTable.Remote)
        case file(NameNode, WrittenFile)
        /// The object's metadata may say something else than the attributes.
        case unpatched(NameNode)
        case told(NameNode, isLost: Bool)
        case answer(UInt64, KernelAnswer)
        case save(NameNode, isWhole: Bool)
        /// The file was written in the last save of the directory.
        case written(NameNode, in: NameNode, isClosed: Bool)
        /// A directory had this name directly below the root.
        case lostName(ByteName)
    }

    /// How a file is opened.
    enum Handle: UInt8, Hashable, Sendable {
        case none
        case reader
        case writer
    }
}

/// What a request of the kernel that is done once was answered.
struct KernelAnswer: Hashable, Sendable {
    /// What was made, opened or removed; nil where that does not matter.
    var node: NameNode?
    /// It was made, and not found.
    var isNew: Bool

    init(node: NameNode? = nil, isNew: Bool = false) {
        self.node = node
        self.isNew = isNew
    }
}

/// What is kept of a file besides its name: handles, the staging file, and what stands in the bucket.
struct WrittenFile: Hashable, Sendable {
    /// Handles that may write.
    var writers = 0
    /// The number of the staging file; nil when there is none.
    var staging: Int?
    /// Of the staging file, as of the last record.
    var content: StagedFileRecord?
    /// What stands in the bucket under `NameTable.File.stands`.
    var standing: ObjectIdentity?
    /// Operations that were begun and whose outcome is not known: what they wrote is ours.
    var operations: [String] = []
    /// The machine died before all of it was safe: nobody wrote what is left, so it is not published until somebody writes.
    var isTorn = false

    init() {}
}

extension WriteIntent {
    /// Whose content it writes.
    var node: NameNode? {
        switch action {
        case .publish(let node, _, _, _), .move(let node, _, _, _, _, _), .keep(let node, _, _, _, _): node
        case .renameFolder(let node, _, _): node
        case .delete: nil
        }
    }
}

extension NameAction {
    /// The same of another content.
    func with(content: Int) -> NameAction {
        switch self {
        case .publish(let node, _, let name, let replacing):
            .publish(node, content: content, name: name, replacing: replacing)
        case .move(let node, _, let source, let generation, let name, let replacing):
            .move(node, content: content, from: source, generation, to: name, replacing: replacing)
        case .keep, .delete, .renameFolder: self
        }
    }
}
