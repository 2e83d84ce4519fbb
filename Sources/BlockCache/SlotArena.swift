import Glibc
import LinuxPlatform

/// The memory of the cache: one region of address space, a block to a slot, pages made by the kernel on first use.
///
/// Neighbouring slots are neighbouring memory, so that one request can fill several blocks. Who may write or read a slot
/// is what `BlockTable` decides: it never gives away a slot that is pinned.
final class SlotArena: @unchecked Sendable {  // the address never changes; its contents follow the table's pins
    private let base: UnsafeMutableRawPointer
    private let size: Int

    init(slots: Int) {
        size = slots * BlockGeometry.blockSize
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
            fatalError("out of address space: mmap of \(size) bytes failed: \(Errno.current)")
        }
        base = memory
        // Fewer faults and fewer misses of the TLB; where the kernel has no such pages, nothing happens.
        madvise(base, size, 14)  // MADV_HUGEPAGE (asm-generic/mman-common.h), which Swift's Glibc module lacks
    }

    deinit { munmap(base, size) }

    /// `count` bytes from `offset` in the slot on, maybe over its end into its neighbours.
    func bytes(slot: Int, offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
        let start = slot * BlockGeometry.blockSize + offset
        precondition(start >= 0 && count >= 0 && start + count <= size)
        return UnsafeMutableRawBufferPointer(start: base + start, count: count)
    }
}
