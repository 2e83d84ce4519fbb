import Checksums
import Testing

struct DigestTests {
    /// FIPS 180 examples: one block, two blocks, and a million letters, which is long enough for every path.
    @Test(
        "SHA-256 of the standard's examples",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
        ]
    )
    func sha256(text: String, hex: String) { #expect(SHA256Digest.of(Array(text.utf8)).hex == hex) }

    @Test(
        "SHA-1 of the standard's examples",
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
            (String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ]
    )
    func sha1(text: String, hex: String) { #expect(SHA1Digest.of(Array(text.utf8)).hex == hex) }

    @Test(
        "MD5 of RFC 1321's test suite",
        arguments: [
            ("", "d41d8cd98f00b204e9800998ecf8427e"), ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a"
            ),
        ]
    )
    func md5(text: String, hex: String) { #expect(MD5Digest.of(Array(text.utf8)).hex == hex) }

    @Test(
        "git's names of blobs",
        arguments: [
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            ("Hello, World!", "b45ef6fec89518d314f546fd6c3025367b721684"),
        ]
    )
    func gitBlob(text: String, hex: String) { #expect(SHA1Digest.ofGitBlob(Array(text.utf8)).hex == hex) }

    @Test("hexadecimal is read in either case and shown in lower case")
    func hexadecimal() {
        let lower = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(SHA256Digest(hex: lower)?.description == lower)
        #expect(SHA256Digest(hex: lower.uppercased()) == SHA256Digest(hex: lower))
    }

    @Test(
        "what is not a digest is refused",
        arguments: ["", "00", "g", String(repeating: "0", count: 39), String(repeating: "0", count: 41)]
            + [
                String(repeating: "0", count: 39) + "g", " " + String(repeating: "0", count: 39),
                "+0" + String(repeating: "0", count: 38),
            ]
    )
    func malformedHexadecimal(text: String) {
        #expect(SHA1Digest(hex: text) == nil)
        #expect(SHA1Digest(bytes: Array(text.utf8.prefix(19))) == nil)
    }
}
