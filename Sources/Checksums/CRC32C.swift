import CLinux

/// A CRC-32C (Castagnoli) of some bytes: polynomial 0x1EDC6F41 reflected, initial value and final XOR all ones.
///
/// Source: RFC 3720, appendix B.4; Cloud Storage keeps it big-endian in base64.
package struct CRC32C: Hashable, Sendable, CustomStringConvertible {
    package let value: UInt32
    package init(_ value: UInt32) { self.value = value }

    /// Of no bytes.
    package static let empty = CRC32C(0)

    /// Of `bytes`, with the fastest instructions of this CPU.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> CRC32C { empty.updated(with: bytes) }

    /// Of `bytes`, with the fastest instructions of this CPU.
    package static func of(_ bytes: [UInt8]) -> CRC32C { bytes.withUnsafeBytes { of($0) } }

    /// Of the bytes so far followed by `bytes`.
    package func updated(with bytes: UnsafeRawBufferPointer) -> CRC32C {
        updated(with: bytes, kernel: clinux_crc32c)
    }

    /// Of the bytes so far followed by `count` bytes whose own CRC is `next`, without looking at any of them.
    ///
    /// O(log count) multiplications modulo the polynomial: the first CRC times x^(8 count), plus the second; the initial
    /// value and the final XOR cancel.
    package func combine(with next: CRC32C, count: Int) -> CRC32C {
        CRC32C(Self.multiply(value, by: Self.byteShifts, count) ^ next.value)
    }

    /// Of what stands before the last `count` bytes, whose own CRC is `suffix`, without looking at any byte: undoes
    /// `combine(with:count:)`, for x has an inverse modulo the polynomial.
    package func removing(suffix: CRC32C, count: Int) -> CRC32C {
        CRC32C(Self.multiply(value ^ suffix.value, by: Self.inverseByteShifts, count))
    }

    /// `value` times the product of the powers that the bits of `count` choose.
    private static func multiply(_ value: UInt32, by powers: [UInt32], _ count: Int) -> UInt32 {
        precondition(count >= 0)
        var product = value
        var rest = UInt64(count)
        var index = 0
        while rest != 0 {
            if rest & 1 != 0 { product = clinux_crc32c_multiply(powers[index], product) }
            rest >>= 1
            index += 1
        }
        return product
    }

    /// x^(8 * 2^k) modulo the polynomial: what 2^k zero bytes do. Bit 31 is the coefficient of x^0.
    private static let byteShifts = squares(of: 0x0080_0000)

    /// x^(-8 * 2^k). Dividing by x shifts the other way, once the polynomial has taken away what x^0 there is.
    private static let inverseByteShifts: [UInt32] = {
        var power: UInt32 = 0x8000_0000
        for _ in 0..<8 { power = power >> 31 == 1 ? (power ^ 0x82F6_3B78) << 1 | 1 : power << 1 }
        return squares(of: power)
    }()

    private static func squares(of power: UInt32) -> [UInt32] {
        var squares = [power]
        for _ in 1..<64 {
            let last = squares[squares.count - 1]
            squares.append(clinux_crc32c_multiply(last, last))
        }
        return squares
    }

    /// Eight hexadecimal digits.
    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

extension CRC32C {
    /// The implementations there are; all give the same value. The fastest is chosen by itself: this is for tests and
    /// measurements.
    package enum Kernel: CaseIterable, Sendable {
        /// Slicing-by-8, any CPU.
        case portable
        /// CRC instructions in three streams.
        case hardware

        /// Whether this CPU can run it.
        package var isAvailable: Bool {
            switch self {
            case .portable: true
            case .hardware: clinux_crc32c_has_hardware() != 0
            }
        }
    }

    /// Like `updated(with:)`, by the given implementation, which must be available.
    package func updated(with bytes: UnsafeRawBufferPointer, kernel: Kernel) -> CRC32C {
        precondition(kernel.isAvailable)
        switch kernel {
        case .portable: return updated(with: bytes, kernel: clinux_crc32c_portable)
        case .hardware: return updated(with: bytes, kernel: clinux_crc32c_hardware)
        }
    }

    @inline(__always)
    private func updated(
        with bytes: UnsafeRawBufferPointer,
        kernel: (UInt32, UnsafeRawPointer?, Int) -> UInt32
    ) -> CRC32C {
        if bytes.isEmpty { return self }
        return CRC32C(~kernel(~value, bytes.baseAddress, bytes.count))
    }
}

extension CRC32C {
    /// Four bytes, the most significant first.
    package var bigEndianBytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    /// Reads four bytes, the most significant first; nil when there are not four.
    package init?(bigEndian bytes: some Collection<UInt8>) {
        guard bytes.count == 4 else { return nil }
        value = bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Cloud Storage's form: the big-endian bytes in padded base64, always eight characters (RFC 4648, section 4).
    package var base64: String { Base64.encode(bigEndianBytes) }

    /// Reads `base64`'s form; nil for anything else, unused bits that are set included.
    package init?(base64 text: String) {
        guard text.utf8.count == 8, let bytes = Base64.decode(text), let checksum = CRC32C(bigEndian: bytes),
            checksum.base64 == text
        else { return nil }
        self = checksum
    }
}
