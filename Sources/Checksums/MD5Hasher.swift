import COpenSSL

/// An MD5 of bytes that come piece by piece. Only where a protocol asks for it: it is slow, and proves little.
///
/// A value: a copy goes its own way. Source: RFC 1321.
package struct MD5Hasher: Sendable {
    // MD5_CTX is plain memory without pointers, so a copy is a full copy.
    private var context = MD5_CTX()

    package init() { MD5_Init(&context) }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if !bytes.isEmpty { MD5_Update(&context, bytes.baseAddress, bytes.count) }
    }

    /// Hashes the next bytes.
    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything so far. The hasher itself does not change: it may go on.
    package func finalize() -> MD5Digest {
        var last = context
        var bytes = [UInt8](repeating: 0, count: MD5Digest.byteCount)
        MD5_Final(&bytes, &last)
        guard let digest = MD5Digest(bytes: bytes) else { preconditionFailure("a digest of the wrong length") }
        return digest
    }
}
