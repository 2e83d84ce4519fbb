import Checksums
import TestSupport
import Testing

@Suite struct Base64Tests {
    /// Source of the vectors: RFC 4648, section 10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func isAsInItsStandard(plain: String, encoded: String) {
        #expect(Base64.encode(plain.utf8) == encoded)
        #expect(Base64.encodeForURL(plain.utf8) == String(encoded.prefix { $0 != "=" }))
        #expect(Base64.decode(encoded) == Array(plain.utf8))
    }

    @Test func urlsHaveDigitsOfTheirOwn() {
        #expect(Base64.encode([0xFB, 0xFF]) == "+/8=")
        #expect(Base64.encodeForURL([0xFB, 0xFF]) == "-_8")
        #expect(Base64.decode("-_8") == [0xFB, 0xFF])
        #expect(Base64.decode("+/8=") == [0xFB, 0xFF])
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func whatIsEncodedComesBack(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(Int.random(in: 0...200, using: &random))
        #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        #expect(Base64.decode(Base64.encodeForURL(bytes)) == bytes)
    }

    @Test(arguments: ["a b", "Zm9v\n", "Zm9v!", "é", "Zm9v\0"]) func otherCharactersAreRefused(text: String) {
        #expect(Base64.decode(text) == nil)
    }
}
