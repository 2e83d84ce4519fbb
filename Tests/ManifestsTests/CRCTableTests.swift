import Checksums
import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct CRCTableTests {
    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 200_000]) func combinesToTheObject(size: Int) throws {
        var random = SeededRandom(seed: UInt64(size))
        let bytes = random.bytes(size)
        let table = try Sample.table(of: bytes)
        #expect(table.combined == CRC32C.of(bytes))
        #expect(table.encoded().count == CRCTable.encodedSize(of: size))
        #expect(try CRCTable(decoding: table.encoded(), size: size, crc32c: CRC32C.of(bytes)) == table)
    }

    @Test func isStoredLittleEndian() throws {
        let table = try CRCTable(granules: [CRC32C(0x0102_0304)], size: 5)
        #expect(table.encoded() == [4, 3, 2, 1])
    }

    @Test func everyFlippedBitMakesItUnbelievable() throws {
        var random = SeededRandom(seed: 1)
        let bytes = random.bytes(150_000)
        let stored = try Sample.table(of: bytes).encoded()
        for bit in 0..<stored.count * 8 {
            var changed = stored
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            let error = #expect(throws: ManifestError.self) {
                try CRCTable(decoding: changed, size: bytes.count, crc32c: CRC32C.of(bytes))
            }
            #expect(error?.code == .damaged)
        }
    }

    @Test(arguments: [-1, 0, 65_536, 131_073, Int.max]) func refusesATableOfAnotherSize(size: Int) throws {
        #expect(throws: ManifestError.self) {
            try CRCTable(decoding: [UInt8](repeating: 0, count: 8), size: size, crc32c: .empty)
        }
    }

    @Test func verifiesEachGranuleAlone() throws {
        var random = SeededRandom(seed: 2)
        var bytes = random.bytes(65_536 * 2 + 100)
        let table = try Sample.table(of: bytes)
        bytes[65_536] ^= 1
        let intact = (0..<table.count).map { index in
            let range = table.range(ofGranule: index)
            return bytes[range.offset..<range.end].withUnsafeBytes { table.verify(granule: index, $0) }
        }
        #expect(intact == [true, false, true])
        #expect(bytes[0..<100].withUnsafeBytes { !table.verify(granule: 0, $0) })
        #expect(bytes[0..<100].withUnsafeBytes { !table.verify(granule: 3, $0) })
    }

    @Test(arguments: [
        (0, 1, 0..<1), (0, 65_537, 0..<2), (65_535, 2, 0..<2), (65_536, 65_536, 1..<2), (131_072, 900, 2..<3),
        (131_172, 4, 0..<0), (5, 0, 0..<0),
    ])
    func knowsWhichGranulesCoverARange(offset: Int, count: Int, expected: Range<Int>) throws {
        let table = try CRCTable(granules: [CRC32C](repeating: .empty, count: 3), size: 131_172)
        #expect(table.granules(covering: ByteRange(offset: offset, count: count)) == expected)
    }
}

@Suite struct PartMetadataTests {
    @Test(arguments: [1, 65_536, 300_000, 4 << 20]) func comesBackAsItWasWritten(size: Int) throws {
        let (part, crc) = try sample(size)
        let metadata = part.encoded()
        #expect(try PartMetadata(decoding: metadata, size: size, crc32c: crc) == part)
        #expect(part.crc32c == crc)
    }

    @Test func theLargestFitsCloudStoragesLimit() throws {
        let granules = [CRC32C](repeating: CRC32C(0x1234_5678), count: 1024)
        let table = try CRCTable(granules: granules, size: PartMetadata.maximumPartSize)
        let transfer = try #require(TransferID(String(repeating: "a", count: 80)))
        let part = try PartMetadata(transfer: transfer, offset: 5 << 40, granules: table)
        let metadata = part.encoded()
        #expect(metadata.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count } < 8192)
        #expect(metadata.values.allSatisfy { $0.utf8.count <= 4096 })
        #expect(try PartMetadata(decoding: metadata, size: part.size, crc32c: part.crc32c) == part)
    }

    @Test func everyFlippedBitIsDetected() throws {
        let (part, crc) = try sample(200_000)
        let metadata = part.encoded()
        for (key, value) in metadata {
            for bit in 0..<value.utf8.count * 8 {
                var bytes = Array(value.utf8)
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                var changed = metadata
                changed[key] = String(decoding: bytes, as: UTF8.self)
                #expect(throws: ManifestError.self) {
                    try PartMetadata(decoding: changed, size: 200_000, crc32c: crc)
                }
            }
        }
    }

    @Test func aMissingKeyIsDetected() throws {
        let (part, crc) = try sample(200_000)
        for key in part.encoded().keys {
            var metadata = part.encoded()
            metadata[key] = nil
            #expect(throws: ManifestError.self) { try PartMetadata(decoding: metadata, size: 200_000, crc32c: crc) }
        }
    }

    @Test func metadataOfOtherBytesIsDetected() throws {
        let (part, crc) = try sample(200_000)
        let other = CRC32C(crc.value ^ 1)
        #expect(throws: ManifestError.self) {
            try PartMetadata(decoding: part.encoded(), size: 200_000, crc32c: other)
        }
        #expect(throws: ManifestError.self) {
            try PartMetadata(decoding: part.encoded(), size: 199_999, crc32c: crc)
        }
    }

    @Test func othersMetadataIsLeftAlone() throws {
        let (part, crc) = try sample(10)
        var metadata = part.encoded()
        metadata["owner"] = "somebody"
        #expect(try PartMetadata(decoding: metadata, size: 10, crc32c: crc) == part)
    }

    @Test(arguments: [-65_536, 1, 65_535]) func beginsAtAGranule(offset: Int) throws {
        let transfer = try #require(TransferID("t"))
        let table = try CRCTable(granules: [.empty], size: 1)
        #expect(throws: ManifestError.self) {
            try PartMetadata(transfer: transfer, offset: offset, granules: table)
        }
    }

    private func sample(_ size: Int) throws -> (PartMetadata, CRC32C) {
        var random = SeededRandom(seed: UInt64(size))
        let bytes = [UInt8](repeating: 0, count: size).indices.map { UInt8(truncatingIfNeeded: $0 &* 131) }
        let part = try PartMetadata(
            transfer: TransferID(try Sample.sha256(&random)),
            offset: 3 << 20,
            granules: try Sample.table(of: bytes)
        )
        return (part, CRC32C.of(bytes))
    }
}
