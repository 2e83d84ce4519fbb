import Checksums
import Glibc
import LinuxPlatform
import ObjectStorage

/// The points of a change at which a process can die, in order. Tests stop at each of them.
package enum LocalStep: String, Sendable, CaseIterable {
    /// The content is complete in a temporary file.
    case staged
    /// The attributes are there, for a content that has no name yet.
    case attributesWritten
    /// The content has (or has lost) its name: the change is visible.
    case renamed
    /// The change is on stable storage.
    case synchronized
    /// What the change made superfluous is gone.
    case cleanedUp
}

/// The directory of a store: opening, finding, locking. Every call blocks, on a thread of the disk pool.
///
/// Paths are walked one directory at a time and symbolic links are never followed, so nothing outside is reached.
final class StoreDirectory: Sendable {
    /// What is found under a name.
    struct Found {
        var attributes: ObjectAttributes
        let identity: FileIdentity
        /// Another tool put it there, or changed it: generation and times are made up from the file.
        let isForeign: Bool
    }

    /// How long another process may hold the lock; a change takes milliseconds.
    static let lockPatience = Duration.seconds(60)

    private struct Own {
        var files: OwnFiles?
        /// By this process: all of it is there.
        var isMade = false
    }

    let path: String
    let root: FileDescriptor
    let time: any TimeSource
    let isDurable: Bool
    private let onStep: (@Sendable (LocalStep) -> Bool)?
    private let own = Lock(Own())
    private let killed = Lock(false)

    init(
        path: String,
        createsDirectory: Bool,
        isDurable: Bool,
        time: any TimeSource,
        onStep: (@Sendable (LocalStep) -> Bool)?
    ) throws(ObjectStoreError) {
        self.path = path
        self.time = time
        self.isDurable = isDurable
        self.onStep = onStep
        do throws(Errno) {
            if createsDirectory { try DirectoryTree.make(path) }
            root = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
        } catch {
            let code: ObjectStoreError.Code = error == .noEntry ? .containerNotFound : .forbidden
            throw ObjectStoreError(code, "cannot open the directory '\(path)': \(error)")
        }
    }

    /// What the store keeps besides contents; nil while there has been no change. For those who only look.
    func ownFiles() throws(ObjectStoreError) -> OwnFiles? {
        if let known = own.withLock({ $0.files }) { return known }
        guard let found = try OwnFiles.existing(in: root, path) else { return nil }
        own.withLock { $0.files = $0.files ?? found }
        return found
    }

    /// What the store keeps besides contents, made where it is missing. For changes.
    ///
    /// - Throws: `forbidden` where nothing may be written.
    func madeOwnFiles() throws(ObjectStoreError) -> OwnFiles {
        let known = own.withLock(\.self)
        if known.isMade, let files = known.files { return files }
        let made = try OwnFiles.made(in: root, path)
        let isFirst = own.withLock { own in
            defer { own = Own(files: own.files ?? made, isMade: true) }
            return !own.isMade
        }
        if isFirst { made.removeAbandoned(path, now: time.timeOfDay()) }
        return made
    }

    /// Tells a test where we are; it may kill us here.
    func step(_ step: LocalStep) throws(ObjectStoreError) {
        guard let onStep, onStep(step) else { return }
        killed.withLock { $0 = true }
        throw ObjectStoreError(.internal, "stopped at the step '\(step)'")
    }

    /// A process that died cleans nothing up.
    var isKilled: Bool { killed.withLock { $0 } }

    /// Runs a change alone, among all processes that use the directory.
    func withLock<Value>(
        _ object: ObjectName,
        _ body: () throws(ObjectStoreError) -> Value
    ) throws(ObjectStoreError) -> Value {
        let own = try madeOwnFiles()
        let lock = try onDisk("lock the store to change", object.value) { () throws(Errno) in
            try FileLock(path: "lock", relativeTo: own.directory.rawValue, patience: Self.lockPatience)
        }
        let result = Result { () throws(ObjectStoreError) in try body() }
        lock.unlock()
        return try result.get()
    }

    /// The directory that holds `path`'s file. Made when it is missing and `isMaking` says so.
    func parent(of path: LocalPath, isMaking: Bool = false) throws(Errno) -> FileDescriptor {
        var current = try FileDescriptor(path: ".", flags: O_RDONLY | O_DIRECTORY, relativeTo: root.rawValue)
        for segment in path.directories {
            do throws(Errno) {
                current = try current.directory(segment)
            } catch {
                guard error == .noEntry, isMaking else { throw error }
                do throws(Errno) { try current.makeDirectory(segment) } catch { if error != .exists { throw error } }
                if isDurable { try current.synchronize() }
                current = try current.directory(segment)
            }
        }
        return current
    }

    /// The file under a name, open for reading; nil when there is none.
    func open(_ path: LocalPath) throws(ObjectStoreError) -> FileDescriptor? {
        do throws(Errno) {
            let parent = try parent(of: path)
            // Not to wait for a pipe's other end; a regular file does not care.
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            let file = try FileDescriptor(path: path.leaf, flags: flags, relativeTo: parent.rawValue)
            guard try file.status().kind == .regular else { return nil }
            return file
        } catch {
            if [.noEntry, .notDirectory, Errno(ELOOP), Errno(ENXIO)].contains(error) { return nil }
            return try onDisk("open", path.name.value) { () throws(Errno) in throw error }
        }
    }

    /// Strictly ascending over all processes; called with the lock held.
    ///
    /// It counts microseconds, so it ascends even if the file that remembers the last one is lost in a power cut.
    func nextGeneration() throws(ObjectStoreError) -> Generation {
        let own = try madeOwnFiles().directory.rawValue
        return try onDisk("count the generations of", path) { () throws(Errno) in
            let file = try FileDescriptor(path: "generation", flags: O_RDWR | O_CREAT, relativeTo: own)
            let buffer = BufferLease(size: 32)
            let count = try file.read(into: buffer.bytes, at: 0)
            let digits = buffer.bytes[..<count].prefix { (0x30...0x39).contains($0) }
            let last = Int64(String(decoding: digits, as: UTF8.self)) ?? 0
            let next = min(max(time.timeOfDay().nanoseconds / 1000, last + 1), 1 << 62 - 1)
            let text = String(next)
            try file.write(Array((String(repeating: "0", count: 20 - text.count) + text).utf8), at: 0)
            return Generation(next)
        }
    }
}
