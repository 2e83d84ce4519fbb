package import LinuxPlatform
package import ObjectStorage
import Synchronization

/// What the kernel calls a file or directory: a number that is never used again, also not by the next process.
package struct NodeID: Hashable, Sendable, CustomStringConvertible {
    package static let root = NodeID(1)
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
    package var description: String { String(value) }
}

/// What the table holds of one inode.
package struct InodeRecord: Hashable, Sendable {
    package var node: NodeID
    package var parent: NodeID
    package var isDirectory: Bool
    package var isLink = false
    /// Another generation stands under its name now.
    package var isSuperseded: Bool
    /// Of the object; 0 for directories.
    package var generation: Generation
    /// In bytes.
    package var size: Int
    package var modified: UnixTime
    /// The number that stat(2) shows: made from path and generation, the same after a new mount.
    package var number: UInt64
    /// How often the kernel was told of it and has not forgotten it.
    package var lookups: UInt64
}

/// Node id → parent, name, generation, lookups: everything the kernel may ask about by number, in memory that can outlive
/// this process.
///
/// One inode for each (path, generation): when another generation shows up under a name, the old inode is superseded and
/// keeps its bytes and attributes for those who have it open. An inode goes when the kernel has forgotten it and nothing
/// stands below it. Each takes 64 bytes and 64 for every 56 bytes of its name, and an entry in the dictionaries here,
/// which are rebuilt from the cells when a region is adopted.
final class InodeTable {
    private enum Kind {
        static let directory: UInt8 = 1
        static let file: UInt8 = 2
        static let name: UInt8 = 3
        static let link: UInt8 = 4
    }

    // Offsets in the cell of an inode. Byte 0 is the kind, 4 the name's first cell.
    private enum Field {
        static let superseded = 1
        static let nameLength = 2
        static let nameCell = 4
        static let node = 8
        static let parent = 16
        static let generation = 24
        static let lookups = 32
        static let size = 40
        static let modified = 48
        static let number = 56
    }

    private struct Child: Hashable {
        let parent: NodeID
        let name: EntryName
    }

    private var region: CellRegion
    private var cells: [NodeID: Int] = [:]
    private var children: [Child: NodeID] = [:]
    private var childCounts: [NodeID: Int] = [:]

    /// A table with the root.
    convenience init(modified: UnixTime) throws(Errno) { try self.init(CellRegion(), modified: modified) }

    /// The table in memory that somebody holds for this process and those after it: with the root, if this is the first.
    convenience init(in memory: consuming FileDescriptor, modified: UnixTime) throws(Errno) {
        if try memory.size() == 0 {
            try self.init(CellRegion(filling: memory), modified: modified)
        } else {
            try self.init(adopting: memory)
        }
    }

    private init(_ empty: consuming CellRegion, modified: UnixTime) throws(Errno) {
        region = empty
        let cell = try region.allocate()
        region.lastNode = NodeID.root.value
        let root = InodeRecord(
            node: .root,
            parent: .root,
            isDirectory: true,
            isSuperseded: false,
            generation: Generation(0),
            size: 0,
            modified: modified,
            number: 1,
            lookups: 1
        )
        write(root, name: nil, to: cell)
        cells[.root] = cell
    }

    /// The table that another process left behind a descriptor.
    init(adopting descriptor: consuming FileDescriptor) throws(Errno) {
        region = try CellRegion(adopting: descriptor)
        for cell in 1..<region.used {
            let kind = region.load(cell, 0, as: UInt8.self)
            guard kind == Kind.directory || kind == Kind.file || kind == Kind.link else { continue }
            let record = record(at: cell)
            cells[record.node] = cell
            guard record.node != .root else { continue }
            childCounts[record.parent, default: 0] += 1
            if !record.isSuperseded, let name = name(at: cell) {
                children[Child(parent: record.parent, name: name)] = record.node
            }
        }
        guard cells[.root] != nil else { throw .invalidArgument }
        // What was forgotten just when the process died.
        for (node, cell) in cells where record(at: cell).lookups == 0 { _ = forget(node, 0) }
    }

    /// The memfd of the cells: who holds it keeps the table.
    var descriptor: Int32 { region.descriptor }
    var count: Int { cells.count }

    func record(_ node: NodeID) -> InodeRecord? { cells[node].map { record(at: $0) } }

    /// Nil for the root and for what is unknown.
    func name(_ node: NodeID) -> EntryName? { cells[node].flatMap { name(at: $0) } }

    /// The inode that a name stands for now, if the kernel was told of it.
    func child(_ name: EntryName, of parent: NodeID) -> NodeID? { children[Child(parent: parent, name: name)] }

    /// The names from the root down; empty for the root itself, nil for what is unknown.
    func path(_ node: NodeID) -> [EntryName]? {
        var path: [EntryName] = []
        var current = node
        while current != .root {
            guard let cell = cells[current], let name = name(at: cell) else { return nil }
            path.append(name)
            current = record(at: cell).parent
        }
        return path.reversed()
    }

    /// The inode that stands at a path now, if it is known.
    func node(at path: [EntryName]) -> NodeID? {
        var node = NodeID.root
        for name in path {
            guard let child = children[Child(parent: node, name: name)] else { return nil }
            node = child
        }
        return node
    }

    /// The inode of what a directory source says stands under a name; a new one when the generation is new.
    ///
    /// - Parameter isCounted: whether the kernel is told, and will forget it once more.
    func enter(
        _ name: EntryName,
        in parent: NodeID,
        _ entry: DirectoryEntry,
        isCounted: Bool = true
    ) throws(Errno) -> InodeRecord {
        let child = Child(parent: parent, name: name)
        if let node = children[child], let cell = cells[node] {
            var record = record(at: cell)
            if record.isDirectory == entry.isDirectory, record.generation == entry.generation {
                if isCounted { record.lookups += 1 }
                region.store(record.lookups, cell, Field.lookups)
                return record
            }
            region.store(UInt8(1), cell, Field.superseded)
            children[child] = nil
        }
        return try insert(child, entry, lookups: isCounted ? 1 : 0)
    }

    private func insert(
        _ child: Child,
        _ entry: DirectoryEntry,
        lookups: UInt64
    ) throws(Errno) -> InodeRecord {
        let nameCells = (child.name.value.utf8.count + Self.nameBytes - 1) / Self.nameBytes
        let cell = try region.allocate()
        var chain: [Int] = []
        for _ in 0..<nameCells { chain.append(try region.allocate()) }
        region.lastNode += 1
        let record = InodeRecord(
            node: NodeID(region.lastNode),
            parent: child.parent,
            isDirectory: entry.isDirectory,
            isLink: entry.isLink,
            isSuperseded: false,
            generation: entry.generation,
            size: entry.shownSize,
            modified: entry.modified,
            number: Self.number(of: child.name, entry, in: self.record(child.parent)?.number ?? 1),
            lookups: lookups
        )
        write(name: child.name, to: chain)
        write(record, name: (child.name, chain[0]), to: cell)
        cells[record.node] = cell
        children[child] = record.node
        childCounts[child.parent, default: 0] += 1
        return record
    }

    /// The kernel forgets so many lookups; what nobody knows any more goes, and then maybe what it stood in.
    ///
    /// - Returns: the inodes that are gone.
    func forget(_ node: NodeID, _ count: UInt64) -> [NodeID] {
        guard let cell = cells[node], node != .root else { return [] }
        let lookups = record(at: cell).lookups
        region.store(lookups - min(count, lookups), cell, Field.lookups)
        var gone: [NodeID] = []
        var current = node
        while current != .root, let cell = cells[current] {
            let record = record(at: cell)
            guard record.lookups == 0, childCounts[current] == nil else { break }
            remove(record, cell)
            gone.append(current)
            current = record.parent
        }
        return gone
    }

    private func remove(_ record: InodeRecord, _ cell: Int) {
        if let name = name(at: cell) {
            let child = Child(parent: record.parent, name: name)
            if children[child] == record.node { children[child] = nil }
        }
        var next = Int(region.load(cell, Field.nameCell, as: UInt32.self))
        // First of all it is no inode any more: one whose name's cells belong to others would be found by the next process.
        region.store(UInt8(0), cell, 0)
        atomicMemoryFence(ordering: .releasing)
        while next != 0 {
            let after = Int(region.load(next, 4, as: UInt32.self))
            region.release(next)
            next = after
        }
        region.release(cell)
        cells[record.node] = nil
        let left = (childCounts[record.parent] ?? 1) - 1
        childCounts[record.parent] = left == 0 ? nil : left
    }

    /// FNV-1a over the parent's number, the name and the generation.
    static func number(of name: EntryName, _ entry: DirectoryEntry, in parent: UInt64) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        withUnsafeBytes(of: parent) { $0.forEach(mix) }
        name.value.utf8.forEach(mix)
        mix(0)
        withUnsafeBytes(of: entry.generation.value) { $0.forEach(mix) }
        return max(hash, 2)
    }
}

// The layout of the cells.
extension InodeTable {
    private static var nameBytes: Int { CellRegion.cellSize - 8 }

    private func record(at cell: Int) -> InodeRecord {
        InodeRecord(
            node: NodeID(region.load(cell, Field.node, as: UInt64.self)),
            parent: NodeID(region.load(cell, Field.parent, as: UInt64.self)),
            isDirectory: region.load(cell, 0, as: UInt8.self) == Kind.directory,
            isLink: region.load(cell, 0, as: UInt8.self) == Kind.link,
            isSuperseded: region.load(cell, Field.superseded, as: UInt8.self) != 0,
            generation: Generation(region.load(cell, Field.generation, as: Int64.self)),
            size: Int(region.load(cell, Field.size, as: Int64.self)),
            modified: UnixTime(nanoseconds: region.load(cell, Field.modified, as: Int64.self)),
            number: region.load(cell, Field.number, as: UInt64.self),
            lookups: region.load(cell, Field.lookups, as: UInt64.self)
        )
    }

    private func write(_ record: InodeRecord, name: (EntryName, Int)?, to cell: Int) {
        region.store(UInt16(name?.0.value.utf8.count ?? 0), cell, Field.nameLength)
        region.store(UInt32(name?.1 ?? 0), cell, Field.nameCell)
        region.store(record.node.value, cell, Field.node)
        region.store(record.parent.value, cell, Field.parent)
        region.store(record.generation.value, cell, Field.generation)
        region.store(record.lookups, cell, Field.lookups)
        region.store(Int64(record.size), cell, Field.size)
        region.store(record.modified.nanoseconds, cell, Field.modified)
        region.store(record.number, cell, Field.number)
        region.store(UInt8(record.isSuperseded ? 1 : 0), cell, Field.superseded)
        // The kind last: a cell that is half written when the process dies is none.
        atomicMemoryFence(ordering: .releasing)
        region.store(record.isDirectory ? Kind.directory : record.isLink ? Kind.link : Kind.file, cell, 0)
    }

    private func write(name: EntryName, to chain: [Int]) {
        var rest = Array(name.value.utf8)[...]
        for (index, cell) in chain.enumerated() {
            region.store(Kind.name, cell, 0)
            region.store(UInt32(index + 1 < chain.count ? chain[index + 1] : 0), cell, 4)
            region.bytes(cell, from: 8).copyBytes(from: rest.prefix(Self.nameBytes))
            rest = rest.dropFirst(Self.nameBytes)
        }
    }

    private func name(at cell: Int) -> EntryName? {
        var left = Int(region.load(cell, Field.nameLength, as: UInt16.self))
        var next = Int(region.load(cell, Field.nameCell, as: UInt32.self))
        var bytes: [UInt8] = []
        while left > 0, next != 0 {
            bytes += region.bytes(next, from: 8).prefix(left)
            left -= min(left, Self.nameBytes)
            next = Int(region.load(next, 4, as: UInt32.self))
        }
        return EntryName(String(decoding: bytes, as: UTF8.self))
    }
}
