package import Checksums
package import ObjectStorage

/// Computes the CRC of every granule of a range while its bytes pass by.
///
/// Fed from a `ByteTap`: in order, each byte once, on one thread; read by another once that read has completed. The
/// completion orders the two.
package final class GranuleAccumulator: @unchecked Sendable {  // one writer, then readers: ordered by the completion
    private var finished: [CRC32C] = []
    private var current = CRC32C.empty
    private var currentCount = 0
    private var total = 0

    package init(expecting count: Int) {
        finished.reserveCapacity((count + UnitPlan.granule - 1) / UnitPlan.granule)
    }

    /// The tap to hand to a read of the whole range.
    package var tap: ByteTap { { offset, bytes in self.absorb(offset, bytes) } }

    private func absorb(_ offset: Int, _ bytes: UnsafeRawBufferPointer) {
        precondition(offset == total, "bytes out of order: \(offset) after \(total)")
        var position = 0
        while position < bytes.count {
            let count = min(bytes.count - position, UnitPlan.granule - currentCount)
            current = current.updated(with: UnsafeRawBufferPointer(rebasing: bytes[position..<(position + count)]))
            currentCount += count
            position += count
            if currentCount == UnitPlan.granule { closeGranule() }
        }
        total += bytes.count
    }

    private func closeGranule() {
        finished.append(current)
        current = .empty
        currentCount = 0
    }

    /// The CRC of each granule in order, the last one possibly shorter. Closes the accumulator.
    package func granules() -> [CRC32C] {
        if currentCount > 0 { closeGranule() }
        return finished
    }

    /// The CRCs of granules put together.
    ///
    /// - Parameter count: bytes that the granules cover: all are whole but the last.
    package static func combined(_ granules: [CRC32C], count: Int) -> CRC32C {
        var whole = CRC32C.empty
        var rest = count
        for granule in granules {
            whole = whole.combine(with: granule, count: min(rest, UnitPlan.granule))
            rest -= UnitPlan.granule
        }
        return whole
    }
}
