import CFuse3
import Glibc

/// The lines of one answer to READDIR or READDIRPLUS, in the kernel's form, as many as fit.
struct DirectoryBuffer {
    private let memory: UnsafeMutableRawBufferPointer
    /// READDIRPLUS: the kernel will know the inodes of its lines.
    let withAttributes: Bool
    private var used = 0

    /// - Parameter size: what the kernel takes; more than the largest answer is not given. To be ended by `deallocate`.
    init(size: Int, withAttributes: Bool) {
        let capacity = min(max(size, 0), FUSESession.maximumRead)
        memory = .allocate(byteCount: capacity, alignment: 8)
        self.withAttributes = withAttributes
    }

    func deallocate() { memory.deallocate() }

    /// What was added.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<used]) }

    /// Whether a line would fit.
    func hasRoom(for name: String) -> Bool {
        let needed =
            withAttributes
            ? fuse_add_direntry_plus(nil, nil, 0, name, nil, 0) : fuse_add_direntry(nil, nil, 0, name, nil, 0)
        return needed <= memory.count - used
    }

    /// `.` (0) and `..` (1), which the kernel does not count as looked up: offsets 1 and 2.
    mutating func addDot(_ which: Int, number: UInt64) -> Bool {
        var entry = fuse_entry_param()
        entry.attr.st_ino = UInt(number)
        entry.attr.st_mode = S_IFDIR
        return add(which == 0 ? "." : "..", entry, offset: which + 1)
    }

    /// - Parameters:
    ///   - entry: without attributes only st_ino and the kind in st_mode count.
    ///   - offset: where to go on after this line.
    /// - Returns: false when there is no room for it.
    mutating func add(_ name: String, _ entry: fuse_entry_param, offset: Int) -> Bool {
        var entry = entry
        let rest = UnsafeMutableRawBufferPointer(rebasing: memory[used...])
        let base = rest.baseAddress?.assumingMemoryBound(to: CChar.self)
        let count =
            withAttributes
            ? fuse_add_direntry_plus(nil, base, rest.count, name, &entry, off_t(offset))
            : fuse_add_direntry(nil, base, rest.count, name, &entry.attr, off_t(offset))
        guard count <= rest.count else { return false }
        used += count
        return true
    }
}
