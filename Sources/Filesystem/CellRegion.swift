import LinuxPlatform

/// A growable array of 64-byte cells in a memfd: plain memory that a descriptor names, so that it can outlive the
/// process that filled it and be taken over by the next one.
///
/// Cell 0 is its head: magic, the last node id given, cells in use, and the first of the free ones, which are chained.
struct CellRegion: ~Copyable {
    static let cellSize = 64
    private static let magic: UInt64 = 0x3145_444f_4e49_5350  // "PSINODE1"
    private static let initialCells = 1024
    private static let maximumCells = 1 << 31

    private var memory: MemoryFile

    /// An empty region.
    ///
    /// - Throws: the `errno` of making the memory.
    init() throws(Errno) {
        memory = try MemoryFile(name: "penstock-inodes", size: Self.initialCells * Self.cellSize)
        head.storeBytes(of: Self.magic, as: UInt64.self)
        used = 1
    }

    /// An empty region in memory that somebody else has made, and that is empty.
    ///
    /// - Throws: the `errno` of making it larger.
    init(filling descriptor: consuming FileDescriptor) throws(Errno) {
        memory = try MemoryFile(adopting: descriptor, atLeast: Self.initialCells * Self.cellSize)
        head.storeBytes(of: Self.magic, as: UInt64.self)
        used = 1
    }

    /// Takes over what another process left.
    ///
    /// - Throws: `invalidArgument` when it is none of ours.
    init(adopting descriptor: consuming FileDescriptor) throws(Errno) {
        let memory = try MemoryFile(adopting: descriptor)
        guard Self.isRegion(memory.bytes) else { throw .invalidArgument }
        self.init(memory)
    }

    private init(_ memory: consuming MemoryFile) { self.memory = memory }

    private static func isRegion(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard bytes.count % cellSize == 0, bytes.count >= cellSize, bytes.load(as: UInt64.self) == magic else {
            return false
        }
        return (1...bytes.count / cellSize).contains(Int(bytes.load(fromByteOffset: 16, as: UInt32.self)))
    }

    /// Names the memory: who holds it keeps the cells.
    var descriptor: Int32 { memory.descriptor.rawValue }

    /// The last node id that was given; never goes back.
    var lastNode: UInt64 {
        get { head.load(fromByteOffset: 8, as: UInt64.self) }
        set { head.storeBytes(of: newValue, toByteOffset: 8, as: UInt64.self) }
    }

    /// Cells that were ever used, the head included.
    private(set) var used: Int {
        get { Int(head.load(fromByteOffset: 16, as: UInt32.self)) }
        set { head.storeBytes(of: UInt32(newValue), toByteOffset: 16, as: UInt32.self) }
    }

    private var firstFree: Int {
        get { Int(head.load(fromByteOffset: 20, as: UInt32.self)) }
        set { head.storeBytes(of: UInt32(newValue), toByteOffset: 20, as: UInt32.self) }
    }

    private var head: UnsafeMutableRawBufferPointer { memory.bytes }
    private var cells: Int { memory.bytes.count / Self.cellSize }

    /// A cell of zeros.
    ///
    /// - Throws: `noSpace` at 2^31 cells, or the `errno` of growing the memory.
    mutating func allocate() throws(Errno) -> Int {
        let free = firstFree
        if free != 0 {
            firstFree = Int(load(free, 4, as: UInt32.self))
            bytes(free, from: 0).initializeMemory(as: UInt8.self, repeating: 0)
            return free
        }
        if used == cells {
            guard cells < Self.maximumCells else { throw .noSpace }
            try memory.grow(to: memory.bytes.count * 2)
        }
        used += 1
        return used - 1
    }

    /// Gives a cell back; its first byte becomes 0, which marks it as free.
    mutating func release(_ index: Int) {
        bytes(index, from: 0).initializeMemory(as: UInt8.self, repeating: 0)
        store(UInt32(firstFree), index, 4)
        firstFree = index
    }

    func load<Value: BitwiseCopyable>(_ index: Int, _ offset: Int, as type: Value.Type) -> Value {
        bytes(index, from: offset).load(as: type)
    }

    func store<Value: BitwiseCopyable>(_ value: Value, _ index: Int, _ offset: Int) {
        bytes(index, from: offset).storeBytes(of: value, as: Value.self)
    }

    /// The cell's memory from `offset` on, until something is allocated.
    func bytes(_ index: Int, from offset: Int) -> UnsafeMutableRawBufferPointer {
        precondition(index > 0 && index < cells)
        let start = index * Self.cellSize
        return UnsafeMutableRawBufferPointer(rebasing: memory.bytes[start + offset..<start + Self.cellSize])
    }
}
