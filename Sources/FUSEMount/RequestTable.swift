import Synchronization

/// The requests that a process has taken and not answered, in memory that outlives it: when it dies, whoever has the
/// memory sees what it was working on.
///
/// A pure structure over memory that it does not own: slots of 32 bytes, a free one has the number 0. Stores of one slot
/// are made so that a process killed between any two of them leaves a slot that is free or true. The kernel never uses a
/// number twice in the life of a mount.
struct RequestTable {
    /// What a slot says.
    struct Entry: Hashable {
        /// Of the request, without the mark of one that was sent again.
        var number: UInt64
        /// Who has taken it last.
        var worker: UInt32
        /// What the deaths of those who had taken it weigh.
        var strikes: UInt16
        /// What the request changes has been written down, and must not be again.
        var isApplied: Bool
        var opcode: UInt32
        var node: UInt64
        /// Of an OPEN that is applied: what it was answered with.
        var openFlags: UInt32
        var backing: Int32
    }

    static let slotSize = 32
    /// From so many strikes on a request is not tried once more.
    static let maximumStrikes = 6

    private enum Field {
        static let number = 0
        static let worker = 8
        static let strikes = 12
        static let isApplied = 14
        static let opcode = 15
        static let node = 16
        static let openFlags = 24
        static let backing = 28
    }

    private let memory: UnsafeMutableRawBufferPointer

    /// - Parameter memory: of zeros, or as another process left it; a multiple of `slotSize` bytes.
    init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

    var capacity: Int { memory.count / Self.slotSize }

    /// Nil for a free slot.
    func entry(_ slot: Int) -> Entry? {
        let number = load(slot, Field.number, UInt64.self)
        guard number != 0 else { return nil }
        return Entry(
            number: number,
            worker: load(slot, Field.worker, UInt32.self),
            strikes: load(slot, Field.strikes, UInt16.self),
            isApplied: load(slot, Field.isApplied, UInt8.self) != 0,
            opcode: UInt32(load(slot, Field.opcode, UInt8.self)),
            node: load(slot, Field.node, UInt64.self),
            openFlags: load(slot, Field.openFlags, UInt32.self),
            backing: load(slot, Field.backing, Int32.self)
        )
    }

    /// Writes a request into a free slot.
    func take(_ slot: Int, _ header: RequestHeader, by worker: UInt32) {
        store(worker, slot, Field.worker)
        store(UInt16(0), slot, Field.strikes)
        store(UInt8(0), slot, Field.isApplied)
        store(UInt8(truncatingIfNeeded: header.opcode), slot, Field.opcode)
        store(header.node, slot, Field.node)
        // The number last: a slot that is half written when the process dies is free.
        atomicMemoryFence(ordering: .releasing)
        store(header.number, slot, Field.number)
    }

    /// The request has come again, to another process.
    func takeAgain(_ slot: Int, by worker: UInt32) { store(worker, slot, Field.worker) }

    func apply(_ slot: Int, openFlags: UInt32 = 0, backing: Int32 = 0) {
        store(openFlags, slot, Field.openFlags)
        store(backing, slot, Field.backing)
        atomicMemoryFence(ordering: .releasing)
        store(UInt8(1), slot, Field.isApplied)
    }

    func free(_ slot: Int) { store(UInt64(0), slot, Field.number) }

    /// A worker has died: whatever it had taken is charged with that.
    ///
    /// - Returns: those that are not to be tried any more from now on.
    func charge(worker: UInt32, strikes: Int) -> [Entry] {
        var condemned: [Entry] = []
        for slot in 0..<capacity {
            guard var entry = entry(slot), entry.worker == worker else { continue }
            let before = entry.strikes
            entry.strikes = UInt16(min(Int(before) + strikes, Int(UInt16.max)))
            store(entry.strikes, slot, Field.strikes)
            if before < Self.maximumStrikes, entry.strikes >= Self.maximumStrikes { condemned.append(entry) }
        }
        return condemned
    }

    private func load<Value: BitwiseCopyable>(_ slot: Int, _ field: Int, _ type: Value.Type) -> Value {
        memory.load(fromByteOffset: slot * Self.slotSize + field, as: type)
    }

    private func store<Value: BitwiseCopyable>(_ value: Value, _ slot: Int, _ field: Int) {
        memory.storeBytes(of: value, toByteOffset: slot * Self.slotSize + field, as: Value.self)
    }
}
