package import Checksums
package import ObjectStorage

/// The CRC32C of every granule of an object: what any 64 KiB of it are checked against alone.
///
/// A table is believed only when its entries, combined, give the object's own CRC32C.
package struct CRCTable: Hashable, Sendable {
    /// Bytes of the object per entry; the last granule may be shorter.
    package static let granuleSize = 64 << 10

    /// Of the object, in bytes.
    package let size: Int
    private let granules: [UInt32]

    /// - Throws: `invalid` when the number of granules is not that of an object of `size` bytes.
    package init(granules: [CRC32C], size: Int) throws(ManifestError) {
        try self.init(values: granules.map(\.value), size: size)
    }

    /// Reads a stored table and proves it.
    ///
    /// - Parameters:
    ///   - bytes: little-endian u32s, one a granule.
    ///   - size: of the object, in bytes.
    ///   - crc32c: of the whole object.
    /// - Throws: `damaged` when the length or the combined CRC differ.
    package init(decoding bytes: [UInt8], size: Int, crc32c: CRC32C) throws(ManifestError) {
        guard size >= 0, bytes.count == Self.encodedSize(of: size) else {
            throw ManifestError(
                .damaged,
                "CRC table",
                "has \(bytes.count) bytes; an object of \(size) bytes has one of \(Self.encodedSize(of: size))"
            )
        }
        let values = bytes.withUnsafeBytes { raw in
            (0..<raw.count / 4).map { UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)) }
        }
        try self.init(values: values, size: size)
        let combined = combined
        if combined != crc32c {
            throw ManifestError(
                .damaged,
                "CRC table",
                "its granules combine to \(combined), the object's CRC32C is \(crc32c): it is not believed"
            )
        }
    }

    private init(values: [UInt32], size: Int) throws(ManifestError) {
        guard size >= 0, values.count == Self.granuleCount(of: size) else {
            throw ManifestError(
                .invalid,
                "CRC table",
                "\(values.count) granules do not make an object of \(size) bytes"
            )
        }
        self.size = size
        granules = values
    }

    /// How many granules an object of `size` bytes has.
    package static func granuleCount(of size: Int) -> Int { size / granuleSize + (size % granuleSize == 0 ? 0 : 1) }

    /// The length in bytes of the stored table of an object of `size` bytes.
    package static func encodedSize(of size: Int) -> Int { granuleCount(of: max(0, size)) * 4 }

    /// Little-endian u32s, one a granule.
    package func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(granules.count * 4)
        for value in granules {
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
        }
        return bytes
    }

    package var count: Int { granules.count }

    package subscript(index: Int) -> CRC32C { CRC32C(granules[index]) }

    /// Which of the object's bytes a granule covers.
    package func range(ofGranule index: Int) -> ByteRange {
        precondition(index >= 0 && index < granules.count)
        let offset = index * Self.granuleSize
        return ByteRange(offset: offset, count: min(Self.granuleSize, size - offset))
    }

    /// The granules that hold at least one byte of `range`, as far as the object goes.
    package func granules(covering range: ByteRange) -> Range<Int> {
        let end = min(range.end, size)
        if range.offset >= end { return 0..<0 }
        return range.offset / Self.granuleSize..<Self.granuleCount(of: end)
    }

    /// Whether these are exactly the bytes of the granule.
    package func verify(granule index: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard index >= 0, index < granules.count, bytes.count == range(ofGranule: index).count else { return false }
        return CRC32C.of(bytes).value == granules[index]
    }

    /// The CRC32C of the whole object, from its granules.
    package var combined: CRC32C { Self.combined(granules, size: size) }

    static func combined(_ granules: [UInt32], size: Int) -> CRC32C {
        var whole = CRC32C.empty
        var remaining = size
        for value in granules {
            let length = min(granuleSize, remaining)
            whole = whole.combine(with: CRC32C(value), count: length)
            remaining -= length
        }
        return whole
    }
}
