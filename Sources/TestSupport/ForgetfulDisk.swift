package import LinuxPlatform

/// A directory on a disk that keeps after a crash only what POSIX makes it keep, and of the rest whatever chance wants.
///
/// What the running process sees is complete, as with a page cache. At a crash, of each file's changes since its last
/// `synchronizeData` any subset is there, writes sector by sector; of the directory's changes since its last
/// `synchronize` any subset, a rename whole or not at all. The process can be stopped after any number of changes.
package final class ForgetfulDisk: Sendable {
    /// What the disk does wrong.
    package struct Faults: Sendable {
        /// The process dies before its change number so-and-so (writes, truncations, names, synchronizations count): from
        /// then on every call throws `EIO`, and nothing changes.
        package var diesAtChange: Int?
        /// This synchronization (counted from 0) does nothing, and says that it did: proves that a test would notice.
        package var skippedSynchronization: Int?
        /// This synchronization throws `EIO`, and what waited for it is never written later either, though it is still
        /// read (as Linux does with pages that could not be written).
        package var failedSynchronization: Int?
        /// Bytes that all files together may have; beyond it, writes end in the middle with `ENOSPC`.
        package var capacity: Int?

        package init(
            diesAtChange: Int? = nil,
            skippedSynchronization: Int? = nil,
            failedSynchronization: Int? = nil,
            capacity: Int? = nil
        ) {
            self.diesAtChange = diesAtChange
            self.skippedSynchronization = skippedSynchronization
            self.failedSynchronization = failedSynchronization
            self.capacity = capacity
        }
    }

    /// What a crash leaves of what was not synchronized.
    package enum Remains: Sendable {
        case nothing
        case everything
        case anySubset(seed: UInt64)
    }

    /// Sectors are written whole or not at all.
    package static let sector = 512

    let state: Lock<ForgetfulState>

    package init(faults: Faults = Faults()) { state = Lock(ForgetfulState(faults)) }

    private init(_ state: ForgetfulState) { self.state = Lock(state) }

    /// The directory, as a process that runs sees it.
    package var directory: any WritableDirectory { ForgetfulDirectory(state) }

    /// How many changes were asked for, those of a dead process not counted.
    package var changes: Int { state.withLock { $0.changes } }
    /// The synchronizations that were asked for: which change (counted from 0) each was.
    package var synchronizations: [Int] { state.withLock { $0.synchronizations } }
    /// Whether the process died of `diesAtChange`.
    package var isDead: Bool { state.withLock { $0.isDead } }

    /// Changes what the disk does wrong from now on.
    package func set(_ faults: Faults) { state.withLock { $0.faults = faults } }

    /// The power goes and comes back: a disk without faults that holds what remains.
    package func crashed(_ remains: Remains) -> ForgetfulDisk {
        ForgetfulDisk(state.withLock { $0.crashed(remains) })
    }

    /// The process dies and another comes; the machine goes on, so everything is there.
    package func restarted() -> ForgetfulDisk {
        ForgetfulDisk(
            state.withLock {
                var next = $0
                next.faults = Faults()
                next.isDead = false
                return next
            }
        )
    }

    /// Turns one bit over, on the disk and in memory; for tests of damage.
    package func flipBit(_ bit: Int, of name: String, at offset: Int) {
        state.withLock { $0.flipBit(bit, of: name, at: offset) }
    }
}

private final class ForgetfulDirectory: WritableDirectory {
    private let state: Lock<ForgetfulState>

    init(_ state: Lock<ForgetfulState>) { self.state = state }

    func names() throws(Errno) -> [String] {
        try state.withLock { (state) throws(Errno) in
            try state.check()
            return state.names.keys.sorted()
        }
    }

    func create(_ name: String) throws(Errno) -> any WritableFile {
        try state.withLock { (state) throws(Errno) in ForgetfulFile(self.state, try state.create(name)) }
    }

    func open(_ name: String) throws(Errno) -> any WritableFile {
        try state.withLock { (state) throws(Errno) in
            try state.check()
            guard let file = state.names[name] else { throw .noEntry }
            return ForgetfulFile(self.state, file)
        }
    }

    func rename(_ name: String, to newName: String) throws(Errno) {
        try state.withLock { (state) throws(Errno) in try state.rename(name, to: newName) }
    }

    func remove(_ name: String) throws(Errno) {
        try state.withLock { (state) throws(Errno) in try state.remove(name) }
    }

    func synchronize() throws(Errno) {
        try state.withLock { (state) throws(Errno) in try state.synchronizeNames() }
    }
}

private final class ForgetfulFile: WritableFile {
    private let state: Lock<ForgetfulState>
    private let file: Int

    init(_ state: Lock<ForgetfulState>, _ file: Int) {
        self.state = state
        self.file = file
    }

    func size() throws(Errno) -> Int {
        try state.withLock { (state) throws(Errno) in
            try state.check()
            return state.files[file]?.seen.count ?? 0
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
        let bytes = try state.withLock { (state) throws(Errno) in
            try state.check()
            return Array((state.files[file]?.seen ?? []).dropFirst(offset).prefix(buffer.count))
        }
        buffer.copyBytes(from: bytes)
        return bytes.count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Errno) {
        let copy = Array(bytes)
        try state.withLock { (state) throws(Errno) in try state.write(copy, at: offset, of: file) }
    }

    func truncate(to size: Int) throws(Errno) {
        try state.withLock { (state) throws(Errno) in try state.truncate(file, to: size) }
    }

    func synchronizeData() throws(Errno) {
        try state.withLock { (state) throws(Errno) in try state.synchronizeData(of: file) }
    }
}
