import LinuxPlatform
import ObjectStorage

/// Bytes in memory that answer at once, in pieces of odd sizes, and lie when they are told to.
final class LyingSource: RangedSource {
    private struct Faults {
        var flipped: (offset: Int, times: Int)?
        var failure: ObjectStoreError?
        var requested = 0
    }

    private let bytes: [UInt8]
    private let faults = Lock(Faults())
    let label = "memory"
    /// Bytes that were asked for.
    var requested: Int { faults.withLock { $0.requested } }

    init(_ bytes: [UInt8]) { self.bytes = bytes }
    var size: Int { bytes.count }

    /// The byte is wrong in the next reads that hold it.
    func flip(at offset: Int, times: Int) { faults.withLock { $0.flipped = (offset, times) } }
    func fail(_ error: ObjectStoreError?) { faults.withLock { $0.failure = error } }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        faults.withLock { $0.requested += read.range.count }
        if let failure = faults.withLock({ $0.failure }) {
            completion(.failure(failure))
            return ReadCancellation {}
        }
        let buffer = UnsafeMutableRawBufferPointer(rebasing: read.buffer.bytes[read.bufferOffset...])
        buffer.copyBytes(from: bytes[read.range.offset..<read.range.end])
        faults.withLock { faults in
            guard let (offset, times) = faults.flipped, times > 0, offset >= read.range.offset, offset < read.range.end
            else { return }
            buffer[offset - read.range.offset] ^= 1
            faults.flipped = (offset, times - 1)
        }
        var done = 0
        while done < read.range.count {
            let count = min(50_001, read.range.count - done)
            read.tap?(done, UnsafeRawBufferPointer(rebasing: buffer[done..<done + count]))
            done += count
        }
        completion(.success(()))
        return ReadCancellation {}
    }
}
