import COpenSSL

/// A SHA-1 of bytes that come piece by piece, which can be saved anywhere and continued by another process.
///
/// A value: a copy goes its own way. Source: FIPS 180-4. See `SHA256Hasher` for why OpenSSL's low-level calls are used.
package struct SHA1Hasher: Sendable {
    // SHA_CTX is plain memory without pointers, so a copy is a full copy.
    private var context = SHA_CTX()

    package init() { SHA1_Init(&context) }

    /// How many bytes were hashed so far.
    package var length: Int { Int((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8) }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if !bytes.isEmpty { SHA1_Update(&context, bytes.baseAddress, bytes.count) }
    }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything so far. The hasher itself does not change: it may go on.
    package func finalize() -> SHA1Digest {
        var last = context
        var bytes = [UInt8](repeating: 0, count: SHA1Digest.byteCount)
        SHA1_Final(&bytes, &last)
        guard let digest = SHA1Digest(bytes: bytes) else { preconditionFailure("a digest of the wrong length") }
        return digest
    }

    /// The state in the form of `SHA256Hasher.savedState`: SHA-1's 20 chaining bytes are followed by 12 zeros, then come
    /// the length and the unfinished block, so 40 bytes at a 64-byte boundary and at most 103.
    package func savedState() -> [UInt8] {
        let pending = Int(context.num)
        let chaining = [context.h0, context.h1, context.h2, context.h3, context.h4]
        let tail = withUnsafeBytes(of: context.data) { Array($0[..<pending]) }
        return SavedHashState(chaining: chaining, length: UInt64(length), tail: tail).bytes
    }

    /// Goes on from `savedState`; nil for bytes that are not one.
    package init?(savedState: [UInt8]) {
        guard let saved = SavedHashState(savedState, words: 5) else { return nil }
        SHA1_Init(&context)
        let words = saved.chaining
        (context.h0, context.h1, context.h2) = (words[0], words[1], words[2])
        (context.h3, context.h4) = (words[3], words[4])
        // The tail goes in by an update, which counts it.
        let bits = (saved.length - UInt64(saved.tail.count)) * 8
        context.Nl = UInt32(truncatingIfNeeded: bits)
        context.Nh = UInt32(truncatingIfNeeded: bits >> 32)
        update(saved.tail)
    }
}
