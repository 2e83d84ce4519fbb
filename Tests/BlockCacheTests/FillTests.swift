import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

/// What fills may take, and what they leave to readers.
struct FillTests {
    private let content = CachedContent.silent(size: 64 << 20, keepsBlocks: true)

    private func fetches(_ actions: [BlockTable.Action]) -> [BlockTable.Fetch] {
        actions.compactMap { if case .fetch(let fetch) = $0 { fetch } else { nil } }
    }

    private func answers(_ actions: [BlockTable.Action]) -> [BlockTable.ReadID] {
        actions.compactMap { if case .answer(let id, _) = $0 { id } else { nil } }
    }

    @Test func neighbouringBlocksComeWithOneRequest() {
        var table = BlockTable(capacity: 64)
        let begun = fetches(table.fill(.init(1), content, 0..<8))
        #expect(begun.map(\.range) == [ByteRange(offset: 0, count: 8 << 20)])
        #expect(answers(table.finished(begun[0].id, failure: nil)) == [.init(1)])
    }

    @Test func onlySoManyRunAtOnce() {
        var table = BlockTable(capacity: 64)
        var begun: [BlockTable.Fetch] = []
        for number in 0..<6 {
            begun += fetches(table.fill(.init(UInt64(number)), content, number * 4..<number * 4 + 4))
        }
        #expect(begun.count == BlockTable.maximumFills)
        _ = table.finished(begun[0].id, failure: nil)
        #expect(fetches(table.release(.init(0))).count == 1)
    }

    @Test func whileReadersAreAtWorkOneRunsAtATime() {
        var table = BlockTable(capacity: 64)
        let other = CachedContent.silent(size: 8 << 20)
        let read = fetches(table.read(.init(100), other, ByteRange(offset: 0, count: 4096)))
        #expect(fetches(table.fill(.init(1), content, 0..<4)).count == 1)
        #expect(fetches(table.fill(.init(2), content, 4..<8)).isEmpty)
        _ = table.finished(read[0].id, failure: nil)
        #expect(fetches(table.release(.init(100))).map(\.range.offset) == [4 << 20])
    }

    @Test func aReaderThatWaitsForMemoryComesFirst() {
        var table = BlockTable(capacity: 8)
        let other = CachedContent.silent(size: 64 << 20)
        var reads: [BlockTable.Fetch] = []
        for number in 0..<4 {
            let range = ByteRange(offset: number << 21, count: 1 << 20)
            reads += fetches(
                table.read(.init(UInt64(number)), other, ByteRange(offset: range.offset + 1, count: 1 << 20))
            )
        }
        #expect(table.available == 0)
        #expect(table.fill(.init(50), content, 0..<1).isEmpty)
        #expect(table.read(.init(60), other, ByteRange(offset: 40 << 20, count: 4096)).isEmpty)
        // The first read's two blocks come back: the waiting read takes one, the fill must leave the reserve.
        for fetch in reads[..<2] { _ = table.finished(fetch.id, failure: nil) }
        let next = fetches(table.release(.init(0)))
        #expect(next.map(\.content.id) == [other.id])
    }

    @Test func itLeavesTheReserve() {
        var table = BlockTable(capacity: 16, maximumRun: 8)
        #expect(table.maximumFillRun == 4)
        for number in 0..<4 { _ = table.fill(.init(UInt64(number)), content, number * 4..<number * 4 + 4) }
        #expect(table.available >= table.reserve)
    }

    @Test func whatIsThereIsNotFetchedAgain() {
        var table = BlockTable(capacity: 64)
        let read = fetches(table.read(.init(1), content, ByteRange(offset: 1 << 20, count: 1 << 20)))
        _ = table.finished(read[0].id, failure: nil)
        _ = table.release(.init(1))
        let begun = fetches(table.fill(.init(2), content, 0..<3))
        #expect(begun.map(\.range.offset).sorted() == [0, 2 << 20])
    }

    @Test func whatCameForTheDiskAloneGoesFirst() {
        var table = BlockTable(capacity: 16)
        let read = fetches(table.read(.init(1), content, ByteRange(offset: 50 << 20, count: 4096)))
        _ = table.finished(read[0].id, failure: nil)
        _ = table.release(.init(1))
        let begun = fetches(table.fill(.init(2), content, 0..<4))
        for case .store(let store) in table.finished(begun[0].id, failure: nil) { _ = table.stored(store) }
        _ = table.release(.init(2))
        _ = table.takeSlots(upTo: table.free.count + 1)
        #expect(table.slot(of: content, 50) != nil)
        #expect(table.slot(of: content, 0) == nil)
    }

    @Test func oneThatIsCancelledHoldsNothing() {
        var table = BlockTable(capacity: 16)
        let begun = fetches(table.fill(.init(1), content, 0..<4))
        #expect(table.cancel(.init(1)).wasWaiting)
        for case .store(let store) in table.finished(begun[0].id, failure: nil) { _ = table.stored(store) }
        #expect(table.isIdle && table.available == 16)
    }

    @Test func aFailureIsTold() {
        var table = BlockTable(capacity: 16)
        let begun = fetches(table.fill(.init(1), content, 0..<4))
        let failed = table.finished(begun[0].id, failure: .unavailable).contains { action in
            if case .fail(.init(1), .unavailable) = action { true } else { false }
        }
        #expect(failed && table.isIdle)
    }
}
