import Filesystem
import LinuxPlatform
import Synchronization

/// Which inodes the kernel has open, how often, and in which mode, in memory that outlives the process.
///
/// The next process must answer an open of an inode that is open already in the same mode, and with the same backing file:
/// the kernel refuses anything else. Slots of 16 bytes: node id, opens, backing id or 0.
struct OpenInodes: ~Copyable {
    /// One inode that is open.
    struct Entry: Hashable {
        var node: NodeID
        var opens: UInt32
        /// The file that the kernel reads; nil: the process does.
        var backing: BackingID?
    }

    private static let slotSize = 16
    private static let initialSlots = 1024

    private enum Field {
        static let node = 0
        static let opens = 8
        static let backing = 12
    }

    private var memory: MemoryFile
    private var slots: [UInt64: Int] = [:]
    private var free: [Int] = []

    /// - Parameter descriptor: of empty memory, or what another process left.
    /// - Throws: the `errno` of mapping it.
    init(_ descriptor: consuming FileDescriptor) throws(Errno) {
        memory = try MemoryFile(adopting: descriptor, atLeast: Self.initialSlots * Self.slotSize)
        for slot in (0..<memory.bytes.count / Self.slotSize).reversed() {
            let node = load(slot, Field.node, UInt64.self)
            if node == 0 { free.append(slot) } else { slots[node] = slot }
        }
    }

    /// In no order.
    var entries: [Entry] {
        slots.values.map { slot in
            let backing = load(slot, Field.backing, Int32.self)
            return Entry(
                node: NodeID(load(slot, Field.node, UInt64.self)),
                opens: load(slot, Field.opens, UInt32.self),
                backing: backing == 0 ? nil : BackingID(number: backing)
            )
        }
    }

    /// One more handle. When there is no memory for it, it is not counted: nothing is wrong until this process dies.
    mutating func open(_ node: UInt64, backing: Int32) {
        if let slot = slots[node] {
            return store(load(slot, Field.opens, UInt32.self) &+ 1, slot, Field.opens)
        }
        guard let slot = freeSlot() else { return }
        store(UInt32(1), slot, Field.opens)
        store(backing, slot, Field.backing)
        // The node last: a slot that is half written when the process dies is free.
        atomicMemoryFence(ordering: .releasing)
        store(node, slot, Field.node)
        slots[node] = slot
    }

    /// One handle less.
    mutating func release(_ node: UInt64) {
        guard let slot = slots[node] else { return }
        let opens = load(slot, Field.opens, UInt32.self)
        if opens > 1 { return store(opens - 1, slot, Field.opens) }
        store(UInt64(0), slot, Field.node)
        slots[node] = nil
        free.append(slot)
    }

    private mutating func freeSlot() -> Int? {
        if let slot = free.popLast() { return slot }
        let used = memory.bytes.count / Self.slotSize
        do { try memory.grow(to: memory.bytes.count * 2) } catch { return nil }
        free = Array((used..<memory.bytes.count / Self.slotSize).reversed())
        return free.popLast()
    }

    private func load<Value: BitwiseCopyable>(_ slot: Int, _ field: Int, _ type: Value.Type) -> Value {
        memory.bytes.load(fromByteOffset: slot * Self.slotSize + field, as: type)
    }

    private func store<Value: BitwiseCopyable>(_ value: Value, _ slot: Int, _ field: Int) {
        memory.bytes.storeBytes(of: value, toByteOffset: slot * Self.slotSize + field, as: Value.self)
    }
}
