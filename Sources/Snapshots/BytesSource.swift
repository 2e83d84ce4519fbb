import LinuxPlatform
package import ObjectStorage

/// A source of bytes that are at hand.
package final class BytesSource: RangedSource {
    private let bytes: [UInt8]
    package let label: String

    package init(_ bytes: [UInt8], label: String) {
        self.bytes = bytes
        self.label = label
    }

    package var size: Int { bytes.count }

    @discardableResult
    package func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        guard read.range.end <= bytes.count else {
            completion(.failure(ObjectStoreError(.outOfRange, "\(label) has \(bytes.count) bytes")))
            return ReadCancellation {}
        }
        bytes.withUnsafeBytes { all in
            let wanted = UnsafeRawBufferPointer(rebasing: all[read.range.offset..<read.range.end])
            let target = UnsafeMutableRawBufferPointer(rebasing: read.buffer.bytes[read.bufferOffset...])
            target.copyMemory(from: wanted)
            if !wanted.isEmpty { read.tap?(0, wanted) }
        }
        completion(.success(()))
        return ReadCancellation {}
    }
}
