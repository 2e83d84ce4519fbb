import Checksums
import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

struct EvictionPolicyTests {
    private func candidate(
        _ name: String,
        _ bytes: Int,
        last: Int64,
        isProtected: Bool = false,
        isFilling: Bool = false
    ) -> EvictionPolicy.Candidate {
        let use = DiskTable.Use(last: last, isProtected: isProtected)
        return EvictionPolicy.Candidate(name: name, bytes: bytes, use: use, isFilling: isFilling)
    }

    private func order(_ candidates: [EvictionPolicy.Candidate], _ requester: String, limit: Int = 1000) -> [String] {
        EvictionPolicy.order(candidates, requester: requester, limit: limit).map(\.name)
    }

    @Test func whatWasUsedLongestAgoGoesFirst() {
        let all = [candidate("b", 10, last: 2), candidate("a", 10, last: 3), candidate("c", 10, last: 1)]
        #expect(order(all, "new") == ["c", "b", "a"])
    }

    @Test func aPassNeverDrivesOutWhatWasReadAgain() {
        let all = [candidate("hot", 700, last: 1, isProtected: true), candidate("scan", 300, last: 9)]
        #expect(order(all, "new") == ["scan"])
        #expect(order(all, "scan") == [])
    }

    @Test func whatIsProtectedBeyondItsShareGoesAfterTheRest() {
        let all = [
            candidate("old", 500, last: 1, isProtected: true), candidate("hot", 400, last: 2, isProtected: true),
            candidate("scan", 50, last: 9),
        ]
        #expect(order(all, "new") == ["scan", "old"])
    }

    @Test func aFileThatIsReadAgainDrivesOutThoseUsedBefore() {
        let all = [
            candidate("old", 700, last: 1, isProtected: true), candidate("today", 200, last: 9, isProtected: true),
        ]
        #expect(order(all, "today") == ["old"])
    }

    @Test func whatIsBeingFilledStays() {
        #expect(order([candidate("a", 10, last: 1, isFilling: true)], "new") == [])
    }
}

struct DiskBudgetTests {
    @Test func beforeTheFirstLookNothingIsGranted() {
        var budget = DiskBudget(limit: 1 << 30, floor: 0)
        #expect(budget.reserve(1 << 20, available: .max) == .look)
        budget.scanned(used: 0)
        #expect(budget.reserve(1 << 20, available: .max) == .granted)
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func twoThatShareADirectoryStayBelowTheLimit(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let limit = Int.random(in: 64...200, using: &random) << 20
        var budgets = [DiskBudget(limit: limit, floor: 0), DiskBudget(limit: limit, floor: 0)]
        var used = 0
        for _ in 0..<2000 {
            let index = Int.random(in: 0..<2, using: &random)
            let bytes = Int.random(in: 1...(1 << 20), using: &random)
            if budgets[index].reserve(bytes, available: .max) == .granted {
                used += bytes
            } else {
                budgets[index].scanned(used: used)
            }
            #expect(used <= limit, "seed \(seed)")
        }
        #expect(used > limit / 2)
    }

    @Test func theFloorOfTheFilesystemIsKept() {
        var budget = DiskBudget(limit: 1 << 30, floor: 100 << 20)
        budget.scanned(used: 0)
        #expect(budget.reserve(1 << 20, available: 101 << 20) == .granted)
        #expect(budget.reserve(1 << 20, available: 100 << 20) == .look)
        #expect(budget.excess(adding: 5, available: 100 << 20) == 5)
    }
}

struct DiskHealthTests {
    private let start = MonotonicInstant(nanoseconds: 0)

    @Test func afterAnErrorTheDiskIsLeftAloneForAWhile() {
        var health = DiskHealth()
        #expect(health.failed(.inputOutput, start) == DiskHealth.firstPause)
        #expect(health.failed(.inputOutput, start) == nil, "one line in the log, not one for each reader")
        #expect(!health.mayRead(start) && !health.mayWrite(start))
        let later = start.advanced(by: DiskHealth.firstPause)
        #expect(health.mayRead(later) && health.mayWrite(later))
    }

    @Test(arguments: [ENOSPC, EROFS, EDQUOT])
    func aFullOrReadOnlyDiskIsStillRead(code: Int32) {
        var health = DiskHealth()
        #expect(health.failed(Errno(code), start) != nil)
        #expect(health.mayRead(start) && !health.mayWrite(start))
    }

    @Test func theNextPauseIsLongerUntilAWriteSucceeds() {
        var health = DiskHealth()
        var now = start
        var pauses: [Duration] = []
        for _ in 0..<8 {
            let pause = health.failed(.noSpace, now) ?? .zero
            pauses.append(pause)
            now = now.advanced(by: pause)
        }
        #expect(pauses.prefix(3) == [.seconds(30), .seconds(60), .seconds(120)])
        #expect(pauses.last == DiskHealth.longestPause)
        health.wrote()
        #expect(health.failed(.noSpace, now) == DiskHealth.firstPause)
    }
}

struct DiskTableTests {
    private let identity: DiskIdentity

    init() throws { identity = try Self.identity("model") }

    private static func identity(_ name: String, generation: Int64 = 1, crc32c: UInt32 = 5) throws -> DiskIdentity {
        DiskIdentity(
            store: "gs://bucket",
            object: try ObjectName(name),
            generation: Generation(generation),
            size: 5_000_000,
            crc32c: CRC32C(crc32c)
        )
    }

    @Test func everyFlippedBitOfAHeaderIsDetected() {
        let header = DiskTable.header(identity)
        #expect(header.count == DiskTable.page && DiskTable.hasHeader(header, of: identity))
        for bit in stride(from: 0, to: header.count * 8, by: 7) {
            var other = header
            other[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!DiskTable.hasHeader(other, of: identity), "bit \(bit)")
        }
        for length in [0, 1, 8, 100, 4095] { #expect(!DiskTable.hasHeader(Array(header[..<length]), of: identity)) }
    }

    @Test func aTableOfAnotherContentIsNotBelieved() throws {
        for other in [
            try Self.identity("other"), try Self.identity("model", generation: 2),
            try Self.identity("model", crc32c: 6),
        ] {
            #expect(!DiskTable.hasHeader(DiskTable.header(other), of: identity))
            #expect(DiskTable.mark(other, 0) != DiskTable.mark(identity, 0))
        }
    }

    @Test func aMarkBelongsToItsBlock() {
        let blocks = 0..<identity.blockCount
        var marks = blocks.flatMap { LittleEndian.bytes(DiskTable.mark(identity, $0)) }
        #expect(DiskTable.marked(marks, blocks, of: identity) == Array(blocks))
        marks.swapAt(0, 4)
        marks[9] ^= 1
        #expect(DiskTable.marked(marks, blocks, of: identity) == [3, 4])
        #expect(DiskTable.marked(Array(marks[..<14]), blocks, of: identity) == [])
        #expect(DiskTable.marked([UInt8](repeating: 0, count: 20), blocks, of: identity) == [])
    }

    @Test(arguments: 0..<100 as Range<UInt64>)
    func nonsenseHasNoMarksAndNoUse(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = random.bytes(Int.random(in: 0..<9000, using: &random))
        #expect(!DiskTable.hasHeader(bytes, of: identity))
        #expect(DiskTable.marked(bytes, 0..<identity.blockCount, of: identity) == [])
        #expect(DiskTable.use(Array(bytes.prefix(DiskTable.useSize))) == nil)
    }

    @Test func aUseIsReadAsItWasWritten() {
        let use = DiskTable.Use(last: 1_700_000_000, isProtected: true)
        let bytes = DiskTable.encode(use)
        #expect(bytes.count == DiskTable.useSize && DiskTable.use(bytes) == use)
        for bit in 0..<bytes.count * 8 {
            var other = bytes
            other[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(DiskTable.use(other) == nil)
        }
    }
}

struct BlockSetTests {
    @Test(arguments: 0..<30 as Range<UInt64>)
    func itIsASetOfNumbers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let capacity = Int.random(in: 1...200, using: &random)
        var (blocks, model) = (BlockSet(capacity: capacity), Set<Int>())
        for _ in 0..<300 {
            let block = Int.random(in: 0..<capacity, using: &random)
            if Bool.random(using: &random) {
                blocks.insert(block)
                model.insert(block)
            } else {
                blocks.remove(block)
                model.remove(block)
            }
            let run = blocks.firstRun(of: block..<capacity)
            #expect(run.blocks.lowerBound == block && run.blocks.allSatisfy { model.contains($0) == run.isIn })
            #expect(run.blocks.upperBound == capacity || model.contains(run.blocks.upperBound) != run.isIn)
        }
        #expect(blocks.count == model.count && blocks.isFull == (model.count == capacity))
    }
}
