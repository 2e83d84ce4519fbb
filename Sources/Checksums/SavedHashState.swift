/// The bytes of a saved hash state, the same form for SHA-1 and SHA-256.
///
///     32 bytes   the chaining words, big-endian; SHA-1's 20 bytes are followed by 12 zeros
///      8 bytes   how many bytes were hashed, big-endian
///      0 to 63   those of them that do not fill a block of 64 yet
///
/// So it has 40 bytes at 64-byte boundaries and at most 103 anywhere. The tail is part of the form because a boundary
/// is not always in reach: git's header shifts the blocks of a blob, and parts end where the network says. It is our
/// own form and not a copy of OpenSSL's structure, so a state outlives a new version of the library and another CPU.
/// It proves nothing by itself: whoever stores it must protect it with a checksum and bind it to the content.
struct SavedHashState {
    static let headerLength = 40
    static let blockLength = 64
    /// 2^61 - 1 bytes: the length in bits must fit into 64 bits (FIPS 180-4, section 5.1.1).
    static let maximumLength = UInt64(1) << 61 - 1

    var chaining: [UInt32]
    var length: UInt64
    var tail: [UInt8]

    init(chaining: [UInt32], length: UInt64, tail: [UInt8]) {
        precondition(chaining.count <= 8 && tail.count == Int(length % 64))
        self.chaining = chaining
        self.length = length
        self.tail = tail
    }

    /// Reads the form; nil for anything else.
    init?(_ bytes: [UInt8], words: Int) {
        guard bytes.count >= Self.headerLength else { return nil }
        length = bytes[32..<40].reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= Self.maximumLength, bytes.count == Self.headerLength + Int(length % 64) else { return nil }
        guard bytes[(4 * words)..<32].allSatisfy({ $0 == 0 }) else { return nil }
        chaining = (0..<words).map { word in bytes[(4 * word)..<(4 * word + 4)].reduce(0) { $0 << 8 | UInt32($1) } }
        tail = Array(bytes[Self.headerLength...])
    }

    var bytes: [UInt8] {
        var form = chaining.flatMap(bigEndianBytes)
        form += [UInt8](repeating: 0, count: 32 - form.count)
        return form + bigEndianBytes(length) + tail
    }
}

/// The bytes of `value`, the most significant first.
func bigEndianBytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
