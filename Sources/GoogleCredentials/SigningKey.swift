import COpenSSL

/// An RSA private key that signs with PKCS #1 v1.5 and SHA-256 (RFC 8017, section 8.2).
///
/// The pointer is used by one call at a time or read only: EVP_DigestSign takes a context of its own and OpenSSL counts
/// references to the key atomically.
final class SigningKey: @unchecked Sendable {
    private let key: OpaquePointer

    /// Nil when the text is not an unencrypted RSA key in PEM form (PKCS #8 or PKCS #1).
    init?(pem: String) {
        let bytes = Array(pem.utf8)
        guard bytes.count <= 65_536, let memory = BIO_new_mem_buf(bytes, Int32(bytes.count)) else { return nil }
        defer { BIO_free(memory) }
        // A callback that gives no password: OpenSSL's own would ask on the terminal.
        guard let key = PEM_read_bio_PrivateKey(memory, nil, { _, _, _, _ in -1 }, nil) else {
            ERR_clear_error()
            return nil
        }
        guard EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA else {
            EVP_PKEY_free(key)
            return nil
        }
        self.key = key
    }

    deinit { EVP_PKEY_free(key) }

    /// Nil when OpenSSL fails.
    func sign(_ message: [UInt8]) -> [UInt8]? {
        guard let context = EVP_MD_CTX_new() else { return nil }
        defer { EVP_MD_CTX_free(context) }
        var count = 0
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key) == 1,
            EVP_DigestSign(context, nil, &count, message, message.count) == 1
        else { return nil }
        var signature = [UInt8](repeating: 0, count: count)
        guard EVP_DigestSign(context, &signature, &count, message, message.count) == 1 else { return nil }
        return Array(signature[..<count])
    }
}
