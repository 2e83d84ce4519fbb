package import Checksums

/// One run of publishing, or one holder of a lease: what tells our own writes from somebody else's.
package struct OperationID: Hashable, Sendable, CustomStringConvertible {
    package let value: String

    /// - Returns: nil unless it is 1 to 64 of `a-z`, `0-9` and `-`.
    package init?(_ value: String) {
        guard isIdentifier(value, upTo: 64) else { return nil }
        self.value = value
    }

    /// A new one, of 128 random bits.
    package static func random() -> Self {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }

    package static func random(using generator: inout some RandomNumberGenerator) -> Self {
        let halves = (0..<2).map { _ in
            let digits = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return Self(unchecked: halves.joined())
    }

    private init(unchecked value: String) { self.value = value }

    package var description: String { value }
}

/// The transfer of one content, named after the content, so that whoever comes later finds its parts.
package struct TransferID: Hashable, Sendable, CustomStringConvertible {
    package let value: String

    /// - Returns: nil unless it is 1 to 80 of `a-z`, `0-9` and `-`.
    package init?(_ value: String) {
        guard isIdentifier(value, upTo: 80) else { return nil }
        self.value = value
    }

    package init(_ content: SHA256Digest) { value = "sha256-\(content)" }

    /// Of a file that the Hub knows by its git blob hash.
    package init(gitOID: SHA1Digest) { value = "git-\(gitOID)" }

    package var description: String { value }
}

/// Fit for one segment of an object's name, and for a header.
private func isIdentifier(_ text: String, upTo limit: Int) -> Bool {
    (1...limit).contains(text.utf8.count)
        && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
}
