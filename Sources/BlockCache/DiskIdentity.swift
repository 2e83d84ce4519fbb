package import Checksums
package import ObjectStorage

/// Which bytes a file of the disk cache holds: one generation of one object, of this length and with this checksum.
package struct DiskIdentity: Hashable, Sendable {
    /// The store's URL for people, for example `gs://bucket`.
    package let store: String
    package let object: ObjectName
    package let generation: Generation
    /// In bytes.
    package let size: Int
    package let crc32c: CRC32C
    /// Of all of the above.
    package let digest: SHA256Digest

    package init(store: String, object: ObjectName, generation: Generation, size: Int, crc32c: CRC32C) {
        self.store = store
        self.object = object
        self.generation = generation
        self.size = size
        self.crc32c = crc32c
        var hasher = SHA256Hasher()
        for text in [store, object.value] {
            hasher.update(LittleEndian.bytes(UInt64(text.utf8.count)) + Array(text.utf8))
        }
        for number in [UInt64(bitPattern: generation.value), UInt64(size), UInt64(crc32c.value)] {
            hasher.update(LittleEndian.bytes(number))
        }
        digest = hasher.finalize()
    }

    /// What its files are called, without their suffixes.
    package var name: String { digest.hex }
    package var blockCount: Int { (size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize }
}

/// Numbers as they stand in the files of the disk cache.
enum LittleEndian {
    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// The number at `offset`; the caller has made sure that it is there.
    static func number<Value: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>, _ type: Value.Type = Value.self) -> Value {
        bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(as: Value.self)) }
    }
}
