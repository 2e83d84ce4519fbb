import COpenSSL

/// A SHA-256 of bytes that come piece by piece, which can be saved anywhere and continued by another process.
///
/// A value: a copy goes its own way. Source: FIPS 180-4. OpenSSL's low-level calls are used because its EVP interface
/// cannot hand out the state; they choose the CPU's SHA instructions all the same.
package struct SHA256Hasher: Sendable {
    // SHA256_CTX is plain memory without pointers, so a copy is a full copy.
    private var context = SHA256_CTX()

    package init() { SHA256_Init(&context) }

    /// How many bytes were hashed so far.
    package var length: Int { Int((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8) }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if !bytes.isEmpty { SHA256_Update(&context, bytes.baseAddress, bytes.count) }
    }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything so far. The hasher itself does not change: it may go on.
    package func finalize() -> SHA256Digest {
        var last = context
        var bytes = [UInt8](repeating: 0, count: SHA256Digest.byteCount)
        SHA256_Final(&bytes, &last)
        guard let digest = SHA256Digest(bytes: bytes) else { preconditionFailure("a digest of the wrong length") }
        return digest
    }

    /// The state in our own form: 8 chaining words, the length as 64 bits, both big-endian, and the up to 63 bytes that
    /// do not fill a block yet: 40 bytes at a 64-byte boundary, at most 103. It needs protection from tampering and rot:
    /// a wrong state gives a wrong digest, nothing else.
    package func savedState() -> [UInt8] {
        let (h, pending) = (context.h, Int(context.num))
        let chaining = [h.0, h.1, h.2, h.3, h.4, h.5, h.6, h.7]
        let tail = withUnsafeBytes(of: context.data) { Array($0[..<pending]) }
        return SavedHashState(chaining: chaining, length: UInt64(length), tail: tail).bytes
    }

    /// Goes on from `savedState`; nil for bytes that are not one.
    package init?(savedState: [UInt8]) {
        guard let saved = SavedHashState(savedState, words: 8) else { return nil }
        SHA256_Init(&context)
        let words = saved.chaining
        context.h = (words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7])
        // The tail goes in by an update, which counts it.
        let bits = (saved.length - UInt64(saved.tail.count)) * 8
        context.Nl = UInt32(truncatingIfNeeded: bits)
        context.Nh = UInt32(truncatingIfNeeded: bits >> 32)
        update(saved.tail)
    }
}
