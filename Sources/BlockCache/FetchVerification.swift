import Checksums
import LinuxPlatform
import ObjectStorage

/// Checks the bytes of one attempt at a fetch as they come, in order.
///
/// Used on the source's thread only, and by its completion after that: never by two at once.
final class FetchVerification: @unchecked Sendable {  // confined as said above
    private let content: CachedContent
    private let range: ByteRange
    private let bytes: UnsafeRawBufferPointer
    /// Bytes of the range that are hashed, and those of them that may be handed out.
    private var hashed = 0
    private(set) var proven = 0
    private(set) var mismatch: Int?
    /// Of the block under way, where there is no table; nil when the fetch did not begin with the block.
    private var running: CRC32C?

    /// - Parameter bytes: where the range goes; `range.count` bytes.
    init(content: CachedContent, range: ByteRange, bytes: UnsafeRawBufferPointer) {
        self.content = content
        self.range = range
        self.bytes = bytes
    }

    /// Bytes up to `end` of the range are there: hashes them while they are in the processor's cache.
    ///
    /// - Returns: how many bytes from the range's beginning may be handed out, always whole granules.
    func delivered(through end: Int) -> Int {
        while mismatch == nil, let next = nextBoundary, next <= end {
            hash(hashed..<next)
            hashed = next
            if mismatch == nil, !content.isProvenWhole || hashed == range.count { proven = hashed }
        }
        return proven
    }

    /// All bytes are there.
    ///
    /// - Returns: the offset in the object of the first granule that is not what it should be, or nil.
    func finish() -> Int? {
        _ = delivered(through: range.count)
        return mismatch
    }

    private var nextBoundary: Int? {
        guard hashed < range.count else { return nil }
        let granule = (range.offset + hashed) / BlockGeometry.granuleSize
        return min((granule + 1) * BlockGeometry.granuleSize - range.offset, range.count)
    }

    private func hash(_ piece: Range<Int>) {
        let offset = range.offset + piece.lowerBound
        let memory = UnsafeRawBufferPointer(rebasing: bytes[piece])
        if content.checks.hasTable {
            if !content.checks.verify(granule: offset / BlockGeometry.granuleSize, memory) { mismatch = offset }
        } else if content.checks.whole != nil {
            addToBlock(memory, at: offset)
        }
    }

    /// Without a table the sum over all blocks is what tells; the last block that comes in decides.
    private func addToBlock(_ memory: UnsafeRawBufferPointer, at offset: Int) {
        if offset % BlockGeometry.blockSize == 0 { running = .empty }
        guard let crc = running?.updated(with: memory) else { return }
        running = crc
        let end = offset + memory.count
        guard end % BlockGeometry.blockSize == 0 || end == content.size else { return }
        let block = offset / BlockGeometry.blockSize
        if content.isProvenWhole {
            if crc != content.checks.whole { mismatch = 0 }
        } else if !content.whole.note(block, crc) {
            mismatch = offset
        }
    }
}
