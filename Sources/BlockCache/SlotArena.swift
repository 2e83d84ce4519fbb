import Glibc
import LinuxPlatform

/// The memory of the cache: one region of address space, a block to a slot, pages made by the kernel on first use.
///
/// Neighbouring slots are neighbouring memory, so that one request can fill several blocks. Who may write or read a slot
/// is what `BlockTable` decides: it never gives away a slot that is pinned.
///
/// What is filled by whole blocks gets pages of 2 MiB: fewer faults and fewer misses of the TLB. A granule by itself gets
/// small ones: to make a large one takes longer than to fetch the granule, and 32 times its memory.
final class SlotArena: @unchecked Sendable {  // the address never changes; its contents follow the table's pins
    private static let largePage = 2 << 20
    // asm-generic/mman-common.h; Swift's Glibc module lacks them.
    private static let useLargePages: Int32 = 14  // MADV_HUGEPAGE
    private static let useSmallPages: Int32 = 15  // MADV_NOHUGEPAGE

    private let base: UnsafeMutableRawPointer
    private let size: Int
    /// Which parts of the size of a large page may have one, counted from address 0 rounded down to `base`.
    private let isLarge: Lock<[Bool]>

    init(slots: Int) {
        size = slots * BlockGeometry.blockSize
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
            fatalError("out of address space: mmap of \(size) bytes failed: \(Errno.current)")
        }
        base = memory
        let parts =
            (UInt(bitPattern: base) + UInt(size)) / UInt(Self.largePage) - UInt(bitPattern: base) / UInt(Self.largePage)
        isLarge = Lock(Array(repeating: false, count: Int(parts) + 1))
        madvise(base, size, Self.useSmallPages)
    }

    /// The slots are going to be filled, all of them whole. Where the kernel has no large pages, nothing happens.
    func willFill(_ slots: Range<Int>) {
        let start = UInt(bitPattern: base) + UInt(slots.lowerBound * BlockGeometry.blockSize)
        let end = UInt(bitPattern: base) + UInt(slots.upperBound * BlockGeometry.blockSize)
        let large = UInt(Self.largePage)
        let first = UInt(bitPattern: base) / large
        for part in start / large...(end - 1) / large {
            let isNew = isLarge.withLock { isLarge in
                defer { isLarge[Int(part - first)] = true }
                return !isLarge[Int(part - first)]
            }
            guard isNew else { continue }
            let from = max(part * large, UInt(bitPattern: base))
            let to = min((part + 1) * large, UInt(bitPattern: base) + UInt(size))
            madvise(UnsafeMutableRawPointer(bitPattern: from), Int(to - from), Self.useLargePages)
        }
    }

    deinit { munmap(base, size) }

    /// `count` bytes from `offset` in the slot on, maybe over its end into its neighbours.
    func bytes(slot: Int, offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
        let start = slot * BlockGeometry.blockSize + offset
        precondition(start >= 0 && count >= 0 && start + count <= size)
        return UnsafeMutableRawBufferPointer(start: base + start, count: count)
    }
}
