/// A CRC-32C (Castagnoli) of some bytes: polynomial 0x1EDC6F41 reflected, initial value and final XOR all ones.
///
/// Source: RFC 3720, appendix B.4; Cloud Storage keeps it big-endian in base64.
package struct CRC32C: Hashable, Sendable, CustomStringConvertible {
    package let value: UInt32
    package init(_ value: UInt32) { self.value = value }

    /// Of no bytes.
    package static let empty = CRC32C(0)

    /// Eight hexadecimal digits.
    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
