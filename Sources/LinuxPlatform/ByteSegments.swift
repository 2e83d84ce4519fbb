/// The bytes of a request body, in pieces that are not copied together.
package struct ByteSegments: Sendable {
    package enum Segment: Sendable {
        case bytes([UInt8])
        case lease(BufferLease, Range<Int>)
    }

    package private(set) var segments: [Segment] = []
    /// The length of all segments together, in bytes.
    package private(set) var count = 0

    package init() {}
    package init(_ bytes: [UInt8]) { append(bytes) }
    package init(_ lease: BufferLease, _ range: Range<Int>) { append(lease, range) }

    package mutating func append(_ bytes: [UInt8]) {
        if bytes.isEmpty { return }
        segments.append(.bytes(bytes))
        count += bytes.count
    }

    package mutating func append(_ lease: BufferLease, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= lease.count)
        if range.isEmpty { return }
        segments.append(.lease(lease, range))
        count += range.count
    }

    /// Lends each segment's bytes in order.
    package func forEachPiece<Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        for segment in segments {
            switch segment {
            case .bytes(let bytes):
                var failure: Failure?
                bytes.withUnsafeBytes { pointer in
                    do throws(Failure) { try body(pointer) } catch { failure = error }
                }
                if let failure { throw failure }
            case .lease(let lease, let range):
                try body(UnsafeRawBufferPointer(rebasing: lease.bytes[range]))
            }
        }
    }

    /// All bytes copied into one array. For small bodies and tests.
    package func copied() -> [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(count)
        forEachPiece { all.append(contentsOf: $0) }
        return all
    }
}
