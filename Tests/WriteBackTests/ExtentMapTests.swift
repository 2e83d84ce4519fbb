import Checksums
import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

@Suite struct ExtentMapTests {
    /// Every operation, beside the same on a set of bytes.
    @Test func itIsASetOfBytes() {
        for seed in UInt64(0)..<40 {
            var random = SeededRandom(seed: seed)
            var map = ExtentMap()
            var bytes = [Bool](repeating: false, count: 64)
            for _ in 0..<60 {
                let start = Int(random.next() % 64)
                let range = start..<(start + Int(random.next() % UInt64(65 - start)))
                let isInsert = random.next() % 2 == 0
                if isInsert { map.insert(range) } else { map.remove(range) }
                for index in range { bytes[index] = isInsert }
                #expect(ranges(of: bytes, in: 0..<64) == map.ranges, "seed \(seed)")
                #expect(map.count == bytes.count { $0 })
                #expect(map.front == bytes.prefix { $0 }.count)
                #expect(map.end == (bytes.lastIndex(of: true) ?? -1) + 1)
                let from = Int(random.next() % 64)
                let other = from..<(from + Int(random.next() % UInt64(65 - from)))
                #expect(map.contains(other) == bytes[other].allSatisfy(\.self), "seed \(seed) \(other)")
                #expect(map.intersects(other) == bytes[other].contains(true))
                #expect(map.parts(of: other) == ranges(of: bytes, in: other))
                #expect(map.gaps(in: other) == ranges(of: bytes.map { !$0 }, in: other))
            }
        }
    }

    private func ranges(of bytes: [Bool], in range: Range<Int>) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        for index in range where bytes[index] {
            if let last = ranges.last, last.upperBound == index {
                ranges[ranges.count - 1] = last.lowerBound..<(index + 1)
            } else {
                ranges.append(index..<(index + 1))
            }
        }
        return ranges
    }
}

@Suite struct PartLayoutTests {
    @Test func partsFollowEachOtherAndEachByteKnowsItsPart() {
        let layout = PartLayout(smallest: 4, largest: 16)
        var end = 0
        for part in 0..<200 {
            let range = layout.range(of: part)
            #expect(range.lowerBound == end)
            end = range.upperBound
            #expect(range.allSatisfy { layout.part(at: $0) == part })
        }
        #expect(layout.parts(of: 3..<9) == 0..<3)
        #expect(layout.parts(of: 8..<8).isEmpty)
    }

    @Test func theLargestObjectHasFewEnoughParts() {
        let count = PartLayout.standard.parts(of: 0..<(5 << 40)).count
        #expect(count < 32 * 32 * 32)
        #expect(PartLayout.standard.parts(of: 0..<(64 << 30)).count < 256)
    }
}

@Suite struct ChecksumRunTests {
    private let layout = PartLayout(smallest: 16, largest: 64)

    @Test func zerosHaveTheirChecksumWithoutBeingLookedAt() {
        for count in 0...70 { #expect(CRC32C.zeros(count) == CRC32C.of([UInt8](repeating: 0, count: count))) }
    }

    @Test func whatWasWrittenOnceInAnyOrderIsProvenAndTakesOneRunAPart() throws {
        for seed in UInt64(0)..<30 {
            var random = SeededRandom(seed: seed)
            let bytes = random.bytes(200)
            var cuts: [Int] = [0, 200] + (0..<10).map { _ in Int(random.next() % 200) }
            cuts = Set(cuts).sorted()
            var runs = ChecksumRuns(layout: layout)
            for (start, end) in zip(cuts, cuts.dropFirst()).shuffled(using: &random) {
                bytes[start..<end].withUnsafeBytes {
                    runs.insert(ChecksumRuns.pieces(of: $0, at: start, layout: layout))
                }
            }
            #expect(runs.checksum(of: 0..<200) == CRC32C.of(bytes), "seed \(seed)")
            #expect(runs.runs.count == layout.parts(of: 0..<200).count)
            for part in layout.parts(of: 0..<200) {
                let range = layout.range(of: part).clamped(to: 0..<200)
                #expect(runs.checksum(of: range) == CRC32C.of(Array(bytes[range])))
            }
        }
    }

    @Test func whatIsWrittenOverIsNotProvenByWhatItWas() {
        var runs = ChecksumRuns(layout: layout)
        [UInt8](repeating: 1, count: 32).withUnsafeBytes {
            runs.insert(ChecksumRuns.pieces(of: $0, at: 0, layout: layout))
        }
        runs.remove(3..<4)
        #expect(runs.checksum(of: 0..<16) == nil)
        #expect(runs.checksum(of: 16..<32) != nil)
    }

    @Test func holesCountAsZeros() {
        var runs = ChecksumRuns(layout: layout)
        [UInt8](repeating: 1, count: 8).withUnsafeBytes {
            runs.insert(ChecksumRuns.pieces(of: $0, at: 4, layout: layout))
        }
        let expected = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0] as [UInt8]
        #expect(runs.checksum(of: 0..<14, holes: [0..<4, 12..<40]) == CRC32C.of(expected))
        #expect(runs.checksum(of: 0..<14, holes: [0..<4]) == nil)
    }

    @Test func manySmallPiecesAreBounded() {
        var runs = ChecksumRuns(layout: PartLayout.standard)
        for index in 0..<(ChecksumRuns.limit + 500) {
            runs.insert([.init(range: (index * 10)..<(index * 10 + 4), crc32c: .empty)])
        }
        #expect(runs.runs.count == ChecksumRuns.limit)
    }
}
