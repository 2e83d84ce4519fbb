import Checksums
import TestSupport
import Testing

/// The definition, bit by bit: what every kernel is compared with.
private func bitwise(_ bytes: some Sequence<UInt8>) -> CRC32C {
    var state: UInt32 = .max
    for byte in bytes {
        state ^= UInt32(byte)
        for _ in 0..<8 { state = state & 1 != 0 ? state >> 1 ^ 0x82F6_3B78 : state >> 1 }
    }
    return CRC32C(~state)
}

struct CRC32CTests {
    /// RFC 3720, appendix B.4, and the check value of the Castagnoli polynomial.
    static let vectors: [([UInt8], UInt32)] = [
        ([], 0),
        (Array("123456789".utf8), 0xE306_9283),
        (Array("hello world".utf8), 0xC994_65AA),
        ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
        ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
        (Array(0..<32), 0x46DD_794E),
        (Array((0..<32).reversed()), 0x113F_DB5C),
        (
            [
                0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0,
                0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
            ], 0xD996_3A56
        ),
    ]

    @Test("published vectors, by every kernel", arguments: CRC32C.Kernel.allCases.filter(\.isAvailable))
    func publishedVectors(kernel: CRC32C.Kernel) {
        for (bytes, value) in Self.vectors {
            #expect(bytes.withUnsafeBytes { CRC32C.empty.updated(with: $0, kernel: kernel) }.value == value)
            #expect(CRC32C.of(bytes).value == value)
        }
    }

    @Test("this machine's hardware kernel is what the tests run")
    func hardwareIsTested() throws {
        // All x86-64 machines since 2008 and all arm64 servers have it; a build without it must not pass unseen.
        #expect(CRC32C.Kernel.hardware.isAvailable)
    }

    @Test("every kernel agrees with the definition at every short length and alignment")
    func shortLengths() {
        var random = SeededRandom(seed: 1)
        let bytes = random.bytes(320)
        bytes.withUnsafeBytes { whole in
            for offset in 0..<9 {
                for count in 0...300 {
                    let piece = UnsafeRawBufferPointer(rebasing: whole[offset..<(offset + count)])
                    let expected = bitwise(piece)
                    for kernel in CRC32C.Kernel.allCases where kernel.isAvailable {
                        #expect(CRC32C.empty.updated(with: piece, kernel: kernel) == expected)
                    }
                }
            }
        }
    }

    @Test("every kernel agrees around the lengths where streams are joined", arguments: [2, 3, 4] as [UInt64])
    func joins(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(3 * 12_288 + 2000)
        bytes.withUnsafeBytes { whole in
            for edge in [768, 2 * 768, 12_288, 12_288 + 768, 2 * 12_288, 24_576, 3 * 12_288] {
                for _ in 0..<6 {
                    let count = edge + Int.random(in: -9...9, using: &random)
                    let offset = Int.random(in: 0...64, using: &random)
                    let piece = UnsafeRawBufferPointer(rebasing: whole[offset..<(offset + count)])
                    let expected = bitwise(piece)
                    for kernel in CRC32C.Kernel.allCases where kernel.isAvailable {
                        #expect(CRC32C.empty.updated(with: piece, kernel: kernel) == expected, "count \(count)")
                    }
                }
            }
        }
    }

    @Test("bytes in pieces, and pieces combined, give the CRC of the whole", arguments: 10..<20 as Range<UInt64>)
    func piecesAndCombine(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(Int.random(in: 0...70_000, using: &random))
        let cut = Int.random(in: 0...bytes.count, using: &random)
        let (head, tail) = (Array(bytes[..<cut]), Array(bytes[cut...]))
        let whole = CRC32C.of(bytes)
        #expect(tail.withUnsafeBytes { CRC32C.of(head).updated(with: $0) } == whole)
        #expect(CRC32C.of(head).combine(with: CRC32C.of(tail), count: tail.count) == whole)
    }

    @Test("a suffix taken off leaves the CRC of what stood before it", arguments: 10..<20 as Range<UInt64>)
    func suffixesComeOff(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(Int.random(in: 1...5000, using: &random))
        let whole = CRC32C.of(bytes)
        for cut in [0, 1, Int.random(in: 0...bytes.count, using: &random), bytes.count - 1, bytes.count] {
            let tail = Array(bytes[cut...])
            #expect(whole.removing(suffix: .of(tail), count: tail.count) == .of(Array(bytes[..<cut])))
        }
    }

    @Test("taking off undoes combining at lengths no memory holds")
    func removingUndoesCombining() {
        var random = SeededRandom(seed: 31)
        for _ in 0..<100 {
            let head = CRC32C(UInt32.random(in: .min ... .max, using: &random))
            let tail = CRC32C(UInt32.random(in: .min ... .max, using: &random))
            let count = Int.random(in: 0...Int.max, using: &random)
            #expect(head.combine(with: tail, count: count).removing(suffix: tail, count: count) == head)
        }
    }

    @Test("combining is associative at lengths no memory holds")
    func combineIsAssociative() {
        var random = SeededRandom(seed: 30)
        for _ in 0..<100 {
            let crcs = (0..<3).map { _ in CRC32C(UInt32.random(in: .min ... .max, using: &random)) }
            let counts = (0..<2).map { _ in Int.random(in: 0...1 << 61, using: &random) }
            let left = crcs[0].combine(with: crcs[1], count: counts[0]).combine(with: crcs[2], count: counts[1])
            let right = crcs[0].combine(
                with: crcs[1].combine(with: crcs[2], count: counts[1]),
                count: counts[0] + counts[1]
            )
            #expect(left == right)
        }
    }

    @Test(
        "Cloud Storage's base64 form, both ways",
        arguments: [
            ("", "AAAAAA=="), ("123456789", "4waSgw=="), ("hello world", "yZRlqg=="), ("a", "wdBDMA=="),
        ]
    )
    func base64(text: String, form: String) {
        let crc = CRC32C.of(Array(text.utf8))
        #expect(crc.base64 == form)
        #expect(CRC32C(base64: form) == crc)
        #expect(CRC32C(bigEndian: crc.bigEndianBytes) == crc)
    }

    @Test(
        "what is not the base64 of four bytes is refused",
        arguments: ["", "AAAA", "AAAAAA", "AAAAAB==", "AAAA-A==", "AAAAAAA=", "AAAAAA==\n", "AAA AA==", "é4waSg=="]
    )
    func malformedBase64(text: String) { #expect(CRC32C(base64: text) == nil) }

    @Test("any value survives base64", arguments: 40..<44 as Range<UInt64>)
    func base64RoundTrip(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let crc = CRC32C(UInt32.random(in: .min ... .max, using: &random))
            #expect(CRC32C(base64: crc.base64) == crc)
        }
    }

    @Test("big-endian needs exactly four bytes")
    func bigEndianLength() {
        #expect(CRC32C(bigEndian: [1, 2, 3]) == nil)
        #expect(CRC32C(bigEndian: [1, 2, 3, 4, 5]) == nil)
        #expect(CRC32C(bigEndian: [1, 2, 3, 4])?.value == 0x0102_0304)
        #expect(CRC32C(0xAB).description == "000000ab")
    }
}
