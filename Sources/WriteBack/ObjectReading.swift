package import LinuxPlatform
package import ObjectStorage

/// How a mount that is written to reads what stands in the bucket: what applications read, not what is published.
package protocol ObjectReading: Sendable {
    /// Puts the bytes into the lease, from `position` on, before it returns, if they are in memory.
    ///
    /// - Parameter range: of the object, at most 1 MiB.
    func copyAtOnce(_ object: ObjectAttributes, _ range: ByteRange, into lease: BufferLease, at position: Int) -> Bool

    /// Puts the bytes into the lease, from `position` on.
    ///
    /// - Parameter range: of the object, at most 1 MiB.
    /// - Throws: `notFound` when this generation is gone.
    func copy(
        _ object: ObjectAttributes,
        _ range: ByteRange,
        into lease: BufferLease,
        at position: Int
    ) async throws(ObjectStoreError)
}

/// By a request for each read.
package struct PlainReading: ObjectReading {
    private let store: any ObjectStore

    package init(_ store: any ObjectStore) { self.store = store }

    package func copyAtOnce(
        _ object: ObjectAttributes,
        _ range: ByteRange,
        into lease: BufferLease,
        at position: Int
    ) -> Bool { false }

    package func copy(
        _ object: ObjectAttributes,
        _ range: ByteRange,
        into lease: BufferLease,
        at position: Int
    ) async throws(ObjectStoreError) {
        try await store.source(object).read(RangeRead(range, into: lease, at: position))
    }
}
