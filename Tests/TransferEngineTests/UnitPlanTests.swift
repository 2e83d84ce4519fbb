import ObjectStorage
import TestSupport
import Testing
import TransferEngine

struct UnitPlanTests {
    static let granule = UnitPlan.granule

    @Test func aFreshFileIsCutIntoUnits() {
        let units = UnitPlan.gaps(fileSize: 2_500_000, tiles: [], unitSize: 1 << 20)
        #expect(units.map(\.offset) == [0, 1 << 20, 2 << 20])
        #expect(units.map(\.count) == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)])
    }

    @Test func anEmptyFileHasNoUnits() {
        #expect(UnitPlan.gaps(fileSize: 0, tiles: [], unitSize: 1 << 20).isEmpty)
    }

    @Test func tilesAndGapsCoverEveryByteOnce() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &random)
        var generator = SplitMix(state: seed)
        for _ in 0..<500 {
            let size = Int.random(in: 1...(300 * Self.granule), using: &generator)
            let held = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                let offset = Int.random(in: 0...300, using: &generator) * Self.granule
                let aligned = Int.random(in: 0...40, using: &generator) * Self.granule
                let count = Bool.random(using: &generator) ? aligned : max(0, size - offset)
                return ByteRange(offset: offset, count: count)
            }
            let tiles = UnitPlan.tiles(fileSize: size, held: held)
            let gaps = UnitPlan.gaps(fileSize: size, tiles: tiles, unitSize: 8 * Self.granule)
            let all = (tiles + gaps).sorted { $0.offset < $1.offset }
            var position = 0
            for range in all {
                #expect(range.offset == position, "seed \(seed)")
                #expect(range.offset % Self.granule == 0, "seed \(seed)")
                position = range.end
            }
            #expect(position == size, "seed \(seed)")
            #expect(gaps.allSatisfy { $0.count <= 8 * Self.granule }, "seed \(seed)")
            #expect(tiles.allSatisfy { held.contains($0) }, "seed \(seed)")
        }
    }

    @Test func rangesThatAreNotWholeGranulesAreNotUsed() {
        let odd = ByteRange(offset: 0, count: Self.granule + 1)
        #expect(UnitPlan.tiles(fileSize: 10 * Self.granule, held: [odd]).isEmpty)
        let last = ByteRange(offset: Self.granule, count: 5)
        #expect(UnitPlan.tiles(fileSize: Self.granule + 5, held: [last]) == [last])
    }
}

/// A small generator with a printable seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
