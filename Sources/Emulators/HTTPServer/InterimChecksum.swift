import Checksums

extension CRC32C {
    /// The checksum of the bytes so far followed by these.
    func extended(by bytes: UnsafeRawBufferPointer) -> CRC32C {
        var state = ~value
        for byte in bytes { state = table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ (state >> 8) }
        return CRC32C(~state)
    }
}

private let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0x82F6_3B78 ^ (value >> 1) : value >> 1 }
}
