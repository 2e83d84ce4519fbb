import Checksums
import TestSupport
import Testing

struct SavedStateTests {
    @Test("SHA-256 saved at any offset goes on to the same digest")
    func sha256() throws {
        var random = SeededRandom(seed: 50)
        let bytes = random.bytes(400)
        for cut in 0...bytes.count {
            var hasher = SHA256Hasher()
            hasher.update(Array(bytes[..<cut]))
            let state = hasher.savedState()
            #expect(state.count == 40 + cut % 64)
            var other = try #require(SHA256Hasher(savedState: state))
            #expect(other.length == cut)
            #expect(other.savedState() == state)
            other.update(Array(bytes[cut...]))
            #expect(other.finalize() == SHA256Digest.of(bytes))
        }
    }

    @Test("SHA-1 saved at any offset goes on to the same digest")
    func sha1() throws {
        var random = SeededRandom(seed: 51)
        let bytes = random.bytes(400)
        for cut in 0...bytes.count {
            var hasher = SHA1Hasher()
            hasher.update(Array(bytes[..<cut]))
            let state = hasher.savedState()
            #expect(state.count == 40 + cut % 64)
            var other = try #require(SHA1Hasher(savedState: state))
            #expect(other.savedState() == state)
            other.update(Array(bytes[cut...]))
            #expect(other.finalize() == SHA1Digest.of(bytes))
        }
    }

    @Test("a git blob saved at any offset goes on to the same name")
    func gitBlob() throws {
        var random = SeededRandom(seed: 52)
        let bytes = random.bytes(300)
        for cut in 0...bytes.count {
            var hasher = GitBlobHasher(size: bytes.count)
            hasher.update(Array(bytes[..<cut]))
            #expect(hasher.savedState().count <= 128)
            var other = try #require(GitBlobHasher(savedState: hasher.savedState()))
            #expect(other.size == bytes.count)
            #expect(other.length == cut)
            other.update(Array(bytes[cut...]))
            #expect(other.finalize() == SHA1Digest.ofGitBlob(bytes))
        }
    }

    @Test("the form is chaining words and length, big-endian: the initial state of FIPS 180-4")
    func form() {
        let initial: [UInt8] = [
            0x6A, 0x09, 0xE6, 0x67, 0xBB, 0x67, 0xAE, 0x85, 0x3C, 0x6E, 0xF3, 0x72, 0xA5, 0x4F, 0xF5, 0x3A, 0x51, 0x0E,
            0x52, 0x7F, 0x9B, 0x05, 0x68, 0x8C, 0x1F, 0x83, 0xD9, 0xAB, 0x5B, 0xE0, 0xCD, 0x19,
        ]
        #expect(SHA256Hasher().savedState() == initial + [UInt8](repeating: 0, count: 8))
        var short = SHA256Hasher()
        short.update([7, 8])
        #expect(short.savedState() == initial + [0, 0, 0, 0, 0, 0, 0, 2, 7, 8])
    }

    @Test("lengths over 4 GiB survive")
    func longLengths() throws {
        // 2^35 bytes + 5: the length in bits needs more than 32 bits.
        var state = SHA256Hasher().savedState()
        state[35] = 8
        state[39] = 5
        let hasher = try #require(SHA256Hasher(savedState: state + [1, 2, 3, 4, 5]))
        #expect(hasher.length == 1 << 35 + 5)
        #expect(hasher.savedState() == state + [1, 2, 3, 4, 5])
    }

    @Test("what is not a saved state is refused, and nothing random traps", arguments: 60..<64 as Range<UInt64>)
    func malformed(seed: UInt64) throws {
        #expect(SHA256Hasher(savedState: []) == nil)
        #expect(SHA256Hasher(savedState: [UInt8](repeating: 0, count: 41)) == nil, "the tail is longer than the length")
        #expect(SHA256Hasher(savedState: [UInt8](repeating: 0xFF, count: 103)) == nil, "longer than SHA-256 allows")
        #expect(SHA1Hasher(savedState: SHA256Hasher().savedState()) == nil, "a state of the other hash")
        #expect(GitBlobHasher(savedState: [UInt8](repeating: 0, count: 48)) == nil, "no header was hashed")
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let bytes = random.bytes(Int.random(in: 0...130, using: &random))
            if let hasher = SHA256Hasher(savedState: bytes) { #expect(hasher.savedState() == bytes) }
            if let hasher = GitBlobHasher(savedState: bytes) { #expect(hasher.savedState() == bytes) }
        }
    }

    @Test("finalize does not end a hasher, and a copy goes its own way")
    func valueSemantics() {
        var hasher = SHA256Hasher()
        hasher.update(Array("ab".utf8))
        var copy = hasher
        #expect(hasher.finalize() == SHA256Digest.of(Array("ab".utf8)))
        copy.update(Array("x".utf8))
        hasher.update(Array("c".utf8))
        #expect(hasher.finalize() == SHA256Digest.of(Array("abc".utf8)))
        #expect(copy.finalize() == SHA256Digest.of(Array("abx".utf8)))
    }
}
