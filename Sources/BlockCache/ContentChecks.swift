package import Checksums
import LinuxPlatform
package import Manifests
import ObjectStorage

/// What the bytes of a content are compared with on their way in.
package struct ContentChecks: Sendable {
    private let table: CRCTable?
    /// Of the whole content.
    package let whole: CRC32C?

    /// Each granule is verified before anybody sees it.
    package static func table(_ table: CRCTable) -> Self { Self(table: table, whole: table.combined) }

    /// Without a table: a content of up to a block is verified before anybody sees it, a larger one when all of its
    /// blocks have been read, in whatever order.
    package static func whole(_ crc: CRC32C?) -> Self { Self(table: nil, whole: crc) }

    package var hasTable: Bool { table != nil }

    /// Whether every block can be proven by itself, or the whole content as one.
    func provesBlocks(size: Int) -> Bool { hasTable || whole != nil && size <= BlockGeometry.blockSize }

    /// Whether these are the bytes of the range: whole granules of a content with a table, or all of one without.
    func prove(_ range: ByteRange, _ bytes: UnsafeRawBufferPointer, size: Int) -> Bool {
        guard hasTable else { return range.count == size && bytes.count == size && CRC32C.of(bytes) == whole }
        guard range.offset % BlockGeometry.granuleSize == 0, bytes.count == range.count else { return false }
        return stride(from: 0, to: range.count, by: BlockGeometry.granuleSize).allSatisfy { start in
            let end = min(start + BlockGeometry.granuleSize, range.count)
            let granule = (range.offset + start) / BlockGeometry.granuleSize
            return verify(granule: granule, UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
        }
    }

    func verify(granule: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        table?.verify(granule: granule, bytes) ?? true
    }
}

/// Adds up the CRCs of whole blocks until the content is complete, for objects without a table.
final class WholeCheck: Sendable {
    private struct State {
        var blocks: [UInt32?]
        var missing: Int
        var isWrong = false
    }

    private let size: Int
    private let expected: CRC32C?
    private let state: Lock<State>

    init(size: Int, expected: CRC32C?) {
        self.size = size
        self.expected = expected
        state = Lock(State(blocks: [], missing: (size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize))
    }

    /// True once the sum was seen to be wrong: then none of its bytes is to be believed.
    var isWrong: Bool { state.withLock { $0.isWrong } }

    /// Notes a block's CRC; false when the content is complete now and is not what it should be.
    func note(_ block: Int, _ crc: CRC32C) -> Bool {
        guard let expected else { return true }
        return state.withLock { state in
            if state.blocks.isEmpty { state.blocks = Array(repeating: nil, count: state.missing) }
            if state.blocks[block] == nil { state.missing -= 1 }
            state.blocks[block] = crc.value
            guard state.missing == 0 else { return true }
            state.isWrong = sum(state.blocks) != expected
            return !state.isWrong
        }
    }

    private func sum(_ blocks: [UInt32?]) -> CRC32C {
        var sum = CRC32C.empty
        for (index, value) in blocks.enumerated() {
            let count = min(BlockGeometry.blockSize, size - index * BlockGeometry.blockSize)
            sum = sum.combine(with: CRC32C(value ?? 0), count: count)
        }
        return sum
    }
}
