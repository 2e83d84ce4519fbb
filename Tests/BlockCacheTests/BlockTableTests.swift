import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

struct BlockTableTests {
    @Test(arguments: 0..<60 as Range<UInt64>)
    func randomSchedulesShowTheRightBytesAndLeaveNobodyWaiting(seed: UInt64) throws {
        var model = BlockTableModel(seed: seed)
        for _ in 0..<400 { try model.step() }
        try model.drain()
        #expect(model.answers > 0, "seed \(seed) tested nothing")
    }

    @Test func whatTheDiskMissedIsStoredWhenItHasCaughtUp() throws {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 8 << 20, keepsBlocks: true)
        var fetches: [BlockTable.Action] = []
        #expect(table.readAhead(content, 0..<8, &fetches) == 6)
        guard case .fetch(let fetch) = try #require(fetches.first) else { return }
        let first = table.finished(fetch.id, failure: nil).stores
        #expect(first.map(\.blocks) == [0..<4])
        let rest = table.stored(try #require(first.first)).stores
        #expect(rest.map(\.blocks) == [4..<5, 5..<6])
        #expect(!table.isIdle)
        #expect(rest.flatMap { table.stored($0).stores }.isEmpty)
        #expect(table.isIdle && table.available == 8)
    }

    @Test func guessesLeaveHalfOfTheMemory() {
        var table = BlockTable(capacity: 16)
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        #expect(table.readAhead(content, 0..<64, for: .guess, &actions) == 8)
        #expect(!table.hasRoomAhead(for: .guess) && table.hasRoomAhead(for: .stream))
        #expect(table.readAhead(content, 8..<64, for: .stream, &actions) == 14)
    }

    @Test func whatIsOnItsWayAheadIsBoundedInBytesAndRequests() {
        var table = BlockTable(capacity: 64, maximumRun: 1, readAheadLimits: .init(fetches: 5, bytes: 3 << 20))
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        #expect(table.readAhead(content, 0..<64, &actions) == 3)
        table.readAheadLimits.bytes = 64 << 20
        #expect(table.readAhead(content, 3..<64, &actions) == 5)
        _ = table.finished(actions.fetches[0].id, failure: nil)
        #expect(table.readAhead(content, 5..<64, &actions) == 6)
    }

    @Test func granulesAreFetchedAheadExactly() {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 4 << 20)
        var actions: [BlockTable.Action] = []
        let range = ByteRange(offset: (1 << 20) - 10, count: 70_000)
        #expect(table.readAhead(content, granulesOf: range, for: .stream, &actions))
        #expect(table.readAhead(content, granulesOf: range, for: .stream, &actions))
        #expect(
            actions.fetches.map(\.range) == [
                ByteRange(offset: 983_040, count: 65_536), ByteRange(offset: 1 << 20, count: 131_072),
            ]
        )
    }

    @Test func theTallyTellsWhatBecameOfBytesThatWereFetchedAhead() {
        var table = BlockTable(capacity: 4)
        let content = CachedContent.silent(size: 4 << 20)
        var actions: [BlockTable.Action] = []
        _ = table.readAhead(content, 0..<2, &actions)
        for fetch in actions.fetches { _ = table.finished(fetch.id, failure: nil) }
        #expect(table.hit(.init(1), content, ByteRange(offset: 0, count: 100_000)) != nil)
        _ = table.release(.init(1))
        #expect(table.takeTally() == ReadAheadTally(used: 131_072, wasted: 0))
        table.purge(content)
        #expect(table.takeTally() == ReadAheadTally(used: 0, wasted: (2 << 20) - 131_072))
    }

    @Test func aStoreThatIsAskedTooMuchGetsLessReadAheadAndEveryReader() {
        var table = BlockTable(capacity: 64, maximumRun: 1, readAheadLimits: .init(fetches: 8, bytes: 64 << 20))
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        #expect(table.readAhead(content, 0..<8, &actions) == 8)
        // Eight on their way together are told the same: it counts once.
        for _ in 0..<8 { table.throttled() }
        for fetch in actions.fetches.prefix(4) { _ = table.finished(fetch.id, failure: nil) }
        var more: [BlockTable.Action] = []
        #expect(table.readAhead(content, 8..<16, &more) == 10)
        #expect(table.read(.init(1), content, ByteRange(offset: 20 << 20, count: 4096)).fetches.count == 1)
        for fetch in actions.fetches.dropFirst(4) { _ = table.finished(fetch.id, failure: nil) }
        #expect(table.readAhead(content, 10..<16, &more) == 14)
    }

    /// Alone it would be a request too, and the next block another one.
    @Test func whatAReaderWantsNextComesWithWhatLiesBehindItAlsoWhenTheStoreWantsFewerRequests() {
        var table = BlockTable(capacity: 64, maximumRun: 8, readAheadLimits: .init(fetches: 8, bytes: 64 << 20))
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        #expect(table.readAhead(content, 0..<24, &actions) == 24)
        table.throttled()
        #expect(table.readAhead(content, 24..<32, &actions) == 32)
        #expect(table.readAhead(content, 32..<40, &actions) == 32)
        #expect(table.readAhead(content, 32..<48, awaited: 33, &actions) == 40)
        #expect(actions.fetches.map(\.range.count) == Array(repeating: 8 << 20, count: 5))
    }

    @Test func aContentIsAwaitedWhileOneOfItsReadersWaits() {
        var table = BlockTable(capacity: 16)
        let content = CachedContent.silent(size: 8 << 20)
        let other = CachedContent.silent(size: 8 << 20)
        var actions: [BlockTable.Action] = []
        _ = table.readAhead(content, 0..<8, &actions)
        #expect(!table.isAwaited(content.id))
        _ = table.read(.init(1), content, ByteRange(offset: 0, count: 1000))
        #expect(table.isAwaited(content.id) && !table.isAwaited(other.id))
        _ = table.finished(actions.fetches[0].id, failure: nil)
        #expect(!table.isAwaited(content.id))
    }

    @Test func readersOfABlockShareOneFetch() {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 4 << 20)
        let first = table.read(.init(1), content, ByteRange(offset: 0, count: 4096))
        let second = table.read(.init(2), content, ByteRange(offset: 100, count: 4096))
        #expect(first.fetches.map(\.range) == [ByteRange(offset: 0, count: 65_536)])
        #expect(second.isEmpty)
        #expect(table.finished(first.fetches[0].id, failure: nil).answered == [.init(1), .init(2)])
    }

    @Test func aRandomReadFetchesGranulesOnly() {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 4 << 20)
        let actions = table.read(.init(1), content, ByteRange(offset: 1_000_000, count: 10_000))
        #expect(actions.fetches.map(\.range) == [ByteRange(offset: 983_040, count: 65_536)])
    }

    @Test func aReadIsAnsweredBeforeItsFetchEnds() {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 4 << 20)
        var actions: [BlockTable.Action] = []
        _ = table.readAhead(content, 0..<4, &actions)
        #expect(table.read(.init(1), content, ByteRange(offset: 0, count: 100_000)).isEmpty)
        #expect(table.arrived(actions.fetches[0].id, through: 65_536).isEmpty)
        #expect(table.arrived(actions.fetches[0].id, through: 131_072).answered == [.init(1)])
    }

    @Test func readAheadComesInRunsAndLeavesTheReserve() {
        var table = BlockTable(capacity: 16, maximumRun: 8)
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        let end = table.readAhead(content, 0..<64, &actions)
        #expect(actions.fetches.map(\.range.count) == [8 << 20, 6 << 20])
        #expect(end == 14)
        #expect(table.available == table.reserve)
    }

    @Test func readAheadGivesWayToThoseWhoWait() {
        var table = BlockTable(capacity: 4)
        let content = CachedContent.silent(size: 64 << 20)
        for read in 0..<4 as Range<UInt64> {
            _ = table.read(.init(read), content, ByteRange(offset: Int(read) << 21, count: 1))
        }
        #expect(table.read(.init(9), content, ByteRange(offset: 30 << 20, count: 1)).isEmpty)
        var actions: [BlockTable.Action] = []
        #expect(table.readAhead(content, 40..<41, &actions) == 40)
        #expect(table.waitingForMemory == 1)
    }

    @Test func whatWaitsForMemoryIsServedInOrder() throws {
        var table = BlockTable(capacity: 4)
        let content = CachedContent.silent(size: 64 << 20)
        var fetches: [BlockTable.Fetch] = []
        for read in 0..<4 as Range<UInt64> {
            fetches += table.read(.init(read), content, ByteRange(offset: Int(read) << 20, count: 1)).fetches
        }
        for read in 4..<6 as Range<UInt64> {
            #expect(table.read(.init(read), content, ByteRange(offset: Int(read) << 20, count: 1)).isEmpty)
        }
        #expect(table.finished(fetches[2].id, failure: nil).answered == [.init(2)])
        #expect(table.release(.init(2)).fetches.map(\.range.offset) == [4 << 20])
        #expect(table.finished(fetches[0].id, failure: .unavailable).fetches.map(\.range.offset) == [5 << 20])
    }

    @Test func aFailureEndsThoseWhoNeedTheBytesAndNobodyElse() {
        var table = BlockTable(capacity: 8)
        let content = CachedContent.silent(size: 4 << 20)
        var actions: [BlockTable.Action] = []
        _ = table.readAhead(content, 0..<4, &actions)
        _ = table.read(.init(1), content, ByteRange(offset: 0, count: 10))
        _ = table.read(.init(2), content, ByteRange(offset: 3 << 20, count: 10))
        #expect(table.arrived(actions.fetches[0].id, through: 1 << 20).answered == [.init(1)])
        let end = table.finished(actions.fetches[0].id, failure: .corrupt)
        #expect(end.failed == [.init(2)])
        #expect(table.release(.init(1)).isEmpty)
        #expect(table.hit(.init(3), content, ByteRange(offset: 0, count: 10)) != nil)
        #expect(table.hit(.init(4), content, ByteRange(offset: 3 << 20, count: 10)) == nil)
    }

    @Test func blocksReadToTheirEndGoBeforeThoseReadAhead() {
        var table = BlockTable(capacity: 4, maximumRun: 1)
        let content = CachedContent.silent(size: 64 << 20)
        var actions: [BlockTable.Action] = []
        _ = table.readAhead(content, 0..<2, &actions)
        for fetch in actions.fetches { _ = table.finished(fetch.id, failure: nil) }
        // Block 1 is read whole, later than block 0 was fetched; still it is block 1 that goes first.
        #expect(table.hit(.init(1), content, ByteRange(offset: 1 << 20, count: 1 << 20)) != nil)
        _ = table.release(.init(1))
        for block in 2..<5 as Range<UInt64> {
            let fetch = table.read(.init(block), content, ByteRange(offset: Int(block) << 20, count: 1)).fetches[0]
            _ = table.finished(fetch.id, failure: nil)
        }
        #expect(table.hit(.init(8), content, ByteRange(offset: 0, count: 1)) != nil)
        #expect(table.hit(.init(9), content, ByteRange(offset: 1 << 20, count: 1)) == nil)
    }

    @Test func aBlockWhoseBeginningNobodyReadIsNotSpent() {
        var table = BlockTable(capacity: 64, maximumRun: 1)
        let content = CachedContent.silent(size: 64 << 20)
        for block in 0..<40 as Range<UInt64> {
            let range = ByteRange(offset: (Int(block) << 20) + (1 << 19), count: 1 << 19)
            var actions: [BlockTable.Action] = []
            _ = table.readAhead(content, Int(block)..<Int(block) + 1, &actions)
            _ = table.finished(actions.fetches[0].id, failure: nil)
            #expect(table.hit(.init(block), content, range) != nil)
            _ = table.release(.init(block))
        }
        for block in 0..<40 as Range<UInt64> {
            let range = ByteRange(offset: Int(block) << 20, count: 1 << 19)
            #expect(table.hit(.init(100 + block), content, range) != nil)
            _ = table.release(.init(100 + block))
        }
        // Now they are: few stay.
        #expect(
            (0..<40).count { table.hit(.init(200 + UInt64($0)), content, ByteRange(offset: $0 << 20, count: 1)) != nil }
                == 16
        )
    }

    @Test func aStreamGoesRoundInFewSlots() {
        var table = BlockTable(capacity: 64, maximumRun: 1)
        let content = CachedContent.silent(size: 64 << 20)
        var slots = Set<Int>()
        for block in 0..<64 as Range<UInt64> {
            let range = ByteRange(offset: Int(block) << 20, count: 1 << 20)
            let fetch = table.read(.init(block), content, range).fetches[0]
            slots.formUnion(fetch.slots)
            _ = table.finished(fetch.id, failure: nil)
            _ = table.release(.init(block))
        }
        #expect(slots.count == BlockTable.keptSpent + 1)
        #expect(table.hit(.init(99), content, ByteRange(offset: 63 << 20, count: 1)) != nil)
    }

    @Test func aPurgedContentIsNotServedAgain() {
        var table = BlockTable(capacity: 4)
        let content = CachedContent.silent(size: 4 << 20)
        let fetch = table.read(.init(1), content, ByteRange(offset: 0, count: 10)).fetches[0]
        _ = table.finished(fetch.id, failure: nil)
        table.purge(content)
        _ = table.release(.init(1))
        #expect(table.hit(.init(2), content, ByteRange(offset: 0, count: 10)) == nil)
        #expect(table.available == 4)
    }
}

extension [BlockTable.Action] {
    var fetches: [BlockTable.Fetch] {
        compactMap { if case .fetch(let fetch) = $0 { fetch } else { nil } }
    }
    var answered: [BlockTable.ReadID] { compactMap { if case .answer(let id, _) = $0 { id } else { nil } } }
    var stores: [BlockTable.Store] { compactMap { if case .store(let store) = $0 { store } else { nil } } }
    var failed: [BlockTable.ReadID] { compactMap { if case .fail(let id, _) = $0 { id } else { nil } } }
}
