package import Checksums
package import ObjectStorage

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

/// Under which name a checkpoint stands below its run's prefix: a directory's, or a single file's.
///
/// One segment of a path, as `SafePath` allows it, and not Penstock's own directory.
package struct CheckpointName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let path: SafePath

    /// - Throws: `ObjectStoreError.invalidName` saying what is wrong with it.
    package init(_ value: String) throws(ObjectStoreError) {
        let path = try SafePath(value)
        if path.segments.count > 1 {
            throw .invalidName(
                value,
                "a checkpoint stands directly below its run; give the run's prefix as deep as that"
            )
        }
        if PenstockPaths.isReserved(path) { throw .invalidName(value, "it is Penstock's own directory") }
        self.path = path
    }

    /// Whether a path below the run's prefix is the checkpoint's file, or lies in its directory.
    package func holds(_ path: SafePath) -> Bool {
        path.value.utf8.prefix { $0 != UInt8(ascii: "/") }.elementsEqual(self.path.value.utf8)
    }

    package static func < (left: Self, right: Self) -> Bool { left.path < right.path }
    package var description: String { path.value }
}

/// What the ranks of one save of one checkpoint have in common, and no other save has: they choose it.
package struct SaveID: Hashable, Sendable, CustomStringConvertible {
    package let value: String

    /// - Returns: nil unless it is 1 to 100 of letters, digits, `.`, `_` and `-`, and begins with a letter or a digit.
    package init?(_ value: String) {
        let isKnown = value.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
            default: false
            }
        }
        guard (1...100).contains(value.utf8.count), isKnown, let first = value.utf8.first,
            first != 0x2D, first != 0x2E, first != 0x5F
        else { return nil }
        self.value = value
    }

    package var description: String { value }
}

/// Fit for one segment of an object's name, and for a header.
private func isIdentifier(_ text: String, upTo limit: Int) -> Bool {
    (1...limit).contains(text.utf8.count)
        && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
}
