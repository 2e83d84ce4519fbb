/// The result of a cryptographic hash: a fixed number of bytes, shown as lowercase hexadecimal.
package protocol Digest: Hashable, Sendable, CustomStringConvertible {
    /// The length in bytes.
    static var byteCount: Int { get }
    /// Exactly `byteCount` bytes.
    var bytes: [UInt8] { get }
    /// Nil when there are not exactly `byteCount` bytes.
    init?(bytes: [UInt8])
}

extension Digest {
    /// Reads 2 × `byteCount` hexadecimal digits of either case; nil for anything else.
    package init?(hex text: String) {
        let digits = text.utf8
        guard digits.count == 2 * Self.byteCount else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        var high: UInt8?
        for digit in digits {
            guard let value = hexadecimalValue(digit) else { return nil }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        self.init(bytes: bytes)
    }

    /// Lowercase hexadecimal digits.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    package var description: String { hex }
}

/// A SHA-256 (FIPS 180-4): what the Hub calls the `oid` of an LFS file.
package struct SHA256Digest: Digest {
    package static let byteCount = 32
    package let bytes: [UInt8]

    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> SHA256Digest {
        var hasher = SHA256Hasher()
        hasher.update(bytes)
        return hasher.finalize()
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: [UInt8]) -> SHA256Digest { bytes.withUnsafeBytes { of($0) } }
}

/// A SHA-1 (FIPS 180-4): git's name of a blob. Proves no authorship, only that bytes are the ones that were named.
package struct SHA1Digest: Digest {
    package static let byteCount = 20
    package let bytes: [UInt8]

    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> SHA1Digest {
        var hasher = SHA1Hasher()
        hasher.update(bytes)
        return hasher.finalize()
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: [UInt8]) -> SHA1Digest { bytes.withUnsafeBytes { of($0) } }

    /// Git's object name of a blob with these bytes.
    package static func ofGitBlob(_ bytes: [UInt8]) -> SHA1Digest {
        var hasher = GitBlobHasher(size: bytes.count)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finalize()
    }
}

/// An MD5 (RFC 1321): only where a protocol asks for it.
package struct MD5Digest: Digest {
    package static let byteCount = 16
    package let bytes: [UInt8]

    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> MD5Digest {
        var hasher = MD5Hasher()
        hasher.update(bytes)
        return hasher.finalize()
    }

    /// Of bytes that are all in memory.
    package static func of(_ bytes: [UInt8]) -> MD5Digest { bytes.withUnsafeBytes { of($0) } }
}

private func hexadecimalValue(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 0x30...0x39: digit - 0x30
    case 0x41...0x46: digit - 0x41 + 10
    case 0x61...0x66: digit - 0x61 + 10
    default: nil
    }
}
