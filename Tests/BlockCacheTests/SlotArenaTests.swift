import Glibc
import LinuxPlatform
import Testing

@testable import BlockCache

struct SlotArenaTests {
    /// Bytes of the slots that are in memory.
    private func resident(_ arena: SlotArena, _ slots: Range<Int>) -> Int {
        let bytes = arena.bytes(slot: slots.lowerBound, offset: 0, count: slots.count * BlockGeometry.blockSize)
        var pages = [UInt8](repeating: 0, count: bytes.count / 4096)
        #expect(mincore(bytes.baseAddress, bytes.count, &pages) == 0)
        return pages.reduce(0) { $0 + Int($1 & 1) } * 4096
    }

    @Test func aGranuleTakesNoMoreMemoryThanItHas() {
        let arena = SlotArena(slots: 16)
        for slot in 0..<16 {
            arena.bytes(slot: slot, offset: 128 << 10, count: 64 << 10).initializeMemory(as: UInt8.self, repeating: 1)
        }
        #expect(resident(arena, 0..<16) == 16 * 64 << 10)
    }

    @Test func whatIsFilledWholeKeepsItsBytes() {
        let arena = SlotArena(slots: 9)
        arena.bytes(slot: 3, offset: 0, count: 100).initializeMemory(as: UInt8.self, repeating: 7)
        for slots in [0..<3, 2..<9, 0..<9] {
            arena.willFill(slots)
            for slot in slots where slot != 3 {
                let bytes = arena.bytes(slot: slot, offset: 0, count: BlockGeometry.blockSize)
                bytes.initializeMemory(as: UInt8.self, repeating: UInt8(slot))
            }
        }
        #expect(arena.bytes(slot: 3, offset: 0, count: 100).allSatisfy { $0 == 7 })
        for slot in 0..<9 where slot != 3 {
            let bytes = arena.bytes(slot: slot, offset: 0, count: BlockGeometry.blockSize)
            #expect(bytes.first == UInt8(slot) && bytes.last == UInt8(slot))
        }
    }
}
