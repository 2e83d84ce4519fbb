import Glibc
import LinuxPlatform

/// The two open files of a content on the disk: its bytes, and the table that says which of them are there.
///
/// The data file has exactly the content's length from the start, with holes. Claims of blocks that are being fetched
/// are locks of single bytes of the table's opening, which is never handed to the kernel.
final class DiskFiles: Sendable {
    let identity: DiskIdentity
    let inode: UInt64
    private let data: FileDescriptor
    private let table: FileDescriptor

    static func dataName(_ identity: DiskIdentity) -> String { identity.name + dataSuffix }
    static func tableName(_ identity: DiskIdentity) -> String { identity.name + tableSuffix }
    static let dataSuffix = ".data"
    static let tableSuffix = ".table"

    /// Opens the files, and makes what is missing or cannot be believed anew.
    ///
    /// - Throws: the `errno` of the call that failed.
    init(_ identity: DiskIdentity, in directory: borrowing FileDescriptor) throws(Errno) {
        let flags = O_RDWR | O_CREAT | O_NOFOLLOW
        let (dataName, tableName) = (Self.dataName(identity), Self.tableName(identity))
        let data = try FileDescriptor(path: dataName, flags: flags, mode: 0o600, relativeTo: directory.rawValue)
        let status = try data.status()
        guard status.kind == .regular else { throw .invalidArgument }
        if status.size != identity.size { try data.truncate(to: identity.size) }
        let table = try FileDescriptor(path: tableName, flags: flags, mode: 0o600, relativeTo: directory.rawValue)
        let header = try Self.bytes(table, at: 0, DiskTable.page)
        if !DiskTable.hasHeader(header, of: identity) {
            // Nobody's marks survive: whoever wrote this table, it is not known whose blocks they are.
            try table.truncate(to: 0)
            try table.write(DiskTable.header(identity), at: 0)
        }
        self.identity = identity
        inode = status.inode
        self.data = data
        self.table = table
    }

    /// What the kernel says of the data file now.
    func status() throws(Errno) -> FileStatus { try data.status() }

    // MARK: Blocks

    /// Reads bytes of the content; the number that were there.
    func read(_ memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
        try data.read(into: memory, at: offset)
    }

    /// Writes a block and then says that it is there.
    func write(_ block: Int, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
        try data.write(bytes, at: block * BlockGeometry.blockSize)
        try table.write(LittleEndian.bytes(DiskTable.mark(identity, block)), at: DiskTable.markOffset(block))
    }

    /// Says that a block is not there.
    func unmark(_ block: Int) throws(Errno) { try table.write([0, 0, 0, 0], at: DiskTable.markOffset(block)) }

    /// Which of the blocks the table says are there.
    func marked(_ blocks: Range<Int>) throws(Errno) -> [Int] {
        let marks = try Self.bytes(table, at: DiskTable.markOffset(blocks.lowerBound), 4 * blocks.count)
        return DiskTable.marked(marks, blocks, of: identity)
    }

    // MARK: Claims

    /// Says to other openings that we fetch the block; false: another one does.
    func claim(_ block: Int) throws(Errno) -> Bool { try table.tryLock(block..<block + 1, isExclusive: true) }

    /// Gives up what we claimed of the blocks.
    func release(_ blocks: Range<Int>) { table.unlock(blocks) }

    // MARK: Use

    /// Notes when it was used, for whoever evicts.
    func write(_ use: DiskTable.Use) throws(Errno) { try table.write(DiskTable.encode(use), at: DiskTable.useOffset) }

    func use() -> DiskTable.Use? {
        (try? Self.bytes(table, at: DiskTable.useOffset, DiskTable.useSize)).flatMap(DiskTable.use)
    }

    /// Pins the content, or lets it go.
    func write(pinnedSince since: Int64?) throws(Errno) {
        let bytes = since.map { DiskTable.encode(pinnedSince: $0, name: identity.name) }
        try table.write(bytes ?? Array(repeating: 0, count: DiskTable.pinSize), at: DiskTable.pinOffset)
    }

    /// Since when it is pinned.
    func pin() -> Int64? {
        (try? Self.bytes(table, at: DiskTable.pinOffset, DiskTable.pinSize))
            .flatMap { DiskTable.pin($0, name: identity.name) }
    }

    /// What the table of `name` says of its use and its pin, read by whoever evicts.
    static func records(
        of name: String,
        in directory: borrowing FileDescriptor
    ) -> (use: DiskTable.Use?, pinnedSince: Int64?) {
        guard let file = openTable(name, directory) else { return (nil, nil) }
        let use = try? bytes(file, at: DiskTable.useOffset, DiskTable.useSize)
        let pin = try? bytes(file, at: DiskTable.pinOffset, DiskTable.pinSize)
        return (use.flatMap(DiskTable.use), pin.flatMap { DiskTable.pin($0, name: name) })
    }

    /// Blocks that the table of a content says are there; none when it is not this content's.
    static func markedBlocks(_ identity: DiskIdentity, in directory: borrowing FileDescriptor) -> Int {
        guard let file = openTable(identity.name, directory),
            let header = try? bytes(file, at: 0, DiskTable.page), DiskTable.hasHeader(header, of: identity),
            let marks = try? bytes(file, at: DiskTable.marksOffset, 4 * identity.blockCount)
        else { return 0 }
        return DiskTable.marked(marks, 0..<identity.blockCount, of: identity).count
    }

    private static func openTable(_ name: String, _ directory: borrowing FileDescriptor) -> FileDescriptor? {
        try? FileDescriptor(path: name + tableSuffix, flags: O_RDONLY | O_NOFOLLOW, relativeTo: directory.rawValue)
    }

    private static func bytes(_ file: borrowing FileDescriptor, at offset: Int, _ count: Int) throws(Errno) -> [UInt8] {
        var failure: Errno?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(Errno) {
                initialized = try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
