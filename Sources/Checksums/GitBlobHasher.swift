/// Git's object name of a blob whose bytes come piece by piece: SHA-1 of `blob`, a space, the size in decimal, a NUL and
/// the bytes. The Hub names a regular file by it. The size must be known first.
///
/// Source: git's object format ("Git Internals - Git Objects").
package struct GitBlobHasher: Sendable {
    /// The size of the blob, promised at the start.
    package let size: Int
    private var hasher: SHA1Hasher

    package init(size: Int) {
        precondition(size >= 0)
        self.size = size
        hasher = SHA1Hasher()
        hasher.update(Self.header(size))
    }

    /// How many bytes of the blob were hashed so far. The digest names the blob only when this is `size`.
    package var length: Int { hasher.length - Self.header(size).count }

    /// Hashes the next bytes of the blob.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) { hasher.update(bytes) }

    /// Hashes the next bytes of the blob.
    package mutating func update(_ bytes: [UInt8]) { hasher.update(bytes) }

    /// The object name, when all `size` bytes were hashed; a blob of another length has another header, so this is then
    /// the name of nothing.
    package func finalize() -> SHA1Digest { hasher.finalize() }

    /// The size as 64 bits big-endian, then the state of the SHA-1 (`SHA1Hasher.savedState`), whose length counts the
    /// header: at most 111 bytes.
    package func savedState() -> [UInt8] { bigEndianBytes(UInt64(size)) + hasher.savedState() }

    /// Goes on from `savedState`; nil for bytes that are not one.
    package init?(savedState: [UInt8]) {
        guard savedState.count >= 8 else { return nil }
        let promised = savedState[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard promised <= SavedHashState.maximumLength, let hasher = SHA1Hasher(savedState: Array(savedState[8...]))
        else { return nil }
        let size = Int(promised)
        let headerLength = Self.header(size).count
        guard hasher.length >= headerLength, hasher.length - headerLength <= size else { return nil }
        self.size = size
        self.hasher = hasher
    }

    private static func header(_ size: Int) -> [UInt8] { Array("blob \(size)\0".utf8) }
}
