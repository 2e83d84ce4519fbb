import BlockCache
import ObjectStorage
import TestSupport
import Testing

@testable import ReadAhead

struct PassTests {
    private static let block = BlockGeometry.blockSize

    @Test func whatWasReadWholeIsNotFetchedAgain() {
        var pass = Pass(size: 10 * Self.block)
        #expect(pass.unread(0..<10) == 0..<10)
        pass.note(ByteRange(offset: 3 * Self.block, count: 2 * Self.block))
        #expect(pass.unread(0..<10) == 0..<3)
        #expect(pass.unread(3..<10) == 5..<10)
        #expect(pass.unread(3..<5).isEmpty && pass.unread(3..<5).upperBound == 5)
    }

    @Test func whatWasReadInPartIsFetched() {
        var pass = Pass(size: 2 * Self.block)
        pass.note(ByteRange(offset: 0, count: Self.block - BlockGeometry.granuleSize))
        #expect(pass.unread(0..<2) == 0..<2)
        pass.note(ByteRange(offset: Self.block - 1, count: 1))
        #expect(pass.unread(0..<2) == 1..<2)
    }

    @Test func theLastBlockMayBeShort() {
        var pass = Pass(size: Self.block + 5)
        pass.note(ByteRange(offset: Self.block, count: 5))
        #expect(pass.unread(0..<2) == 0..<1)
        #expect(pass.unread(1..<2).isEmpty)
    }

    @Test func aSecondPassIsFetchedAheadAsTheFirst() {
        let size = 64 * Self.block
        var pass = Pass(size: size)
        for start in stride(from: 0, to: size, by: 1 << 17) { pass.note(ByteRange(offset: start, count: 1 << 17)) }
        #expect(pass.unread(0..<64).isEmpty)
        // A header is read again: no new pass.
        pass.note(ByteRange(offset: 0, count: 100_000))
        #expect(pass.unread(0..<64).isEmpty)
        for start in stride(from: 0, to: Pass.step, by: 1 << 17) { pass.note(ByteRange(offset: start, count: 1 << 17)) }
        #expect(pass.unread(2..<64) == 2..<64)
    }

    @Test func readsOutsideOfTheFileSayNothing() {
        var pass = Pass(size: 100)
        pass.note(ByteRange(offset: 0, count: 101))
        pass.note(ByteRange(offset: 0, count: 0))
        #expect(pass.unread(0..<1) == 0..<1)
    }
}
