import BlockCache
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct FilesAheadTests {
    private func facts(_ number: Int, size: Int = 1000) throws -> FileFacts {
        FileFacts(
            object: try ObjectName("f\(number)"),
            generation: Generation(1),
            size: size,
            modified: UnixTime(seconds: 0),
            crc32c: nil
        )
    }

    private func content() throws -> CachedContent {
        let attributes = ObjectAttributes(name: try ObjectName("x"), generation: Generation(1), size: 1, crc32c: nil)
        return CachedContent(source: MemoryObjectStore().source(attributes), checks: .whole(nil))
    }

    @Test func whatIsReadyIsTakenOnce() throws {
        var ahead = FilesAhead(capacity: 4)
        let facts = try facts(1)
        #expect(ahead.begin(facts, blocks: FilesAhead.blocks(of: facts.size)).isNew)
        #expect(!ahead.begin(facts, blocks: FilesAhead.blocks(of: facts.size)).isNew)
        let content = try content()
        #expect(ahead.opened(.init(facts), .success(content)) == nil)
        guard case .ready(let taken) = ahead.take(facts, { _ in }) else { return #expect(Bool(false)) }
        #expect(taken === content)
        guard case .unknown = ahead.take(facts, { _ in }) else { return #expect(Bool(false)) }
        #expect(ahead.count == 0)
    }

    @Test func whoOpensItMeanwhileIsTold() throws {
        var ahead = FilesAhead(capacity: 4)
        let facts = try facts(1)
        #expect(ahead.begin(facts, blocks: FilesAhead.blocks(of: facts.size)).isNew)
        guard case .underWay = ahead.take(facts, { _ in }) else { return #expect(Bool(false)) }
        #expect(ahead.opened(.init(facts), .failure(.inputOutput)) != nil)
        #expect(ahead.count == 0)
    }

    @Test func whatNobodyTakesGoesWhenThereIsNoRoom() throws {
        var ahead = FilesAhead(capacity: 4)
        for number in 0..<100 {
            let facts = try facts(number, size: number % 7 == 0 ? 3 << 20 : 100)
            let (isNew, _) = ahead.begin(facts, blocks: FilesAhead.blocks(of: facts.size))
            #expect(isNew)
            _ = ahead.opened(.init(facts), .success(try content()))
            #expect(ahead.count <= 4)
        }
    }

    @Test func whatIsBeingOpenedIsNotDropped() throws {
        var ahead = FilesAhead(capacity: 2)
        let first = try facts(1)
        let second = try facts(2)
        let third = try facts(3)
        #expect(ahead.begin(first, blocks: FilesAhead.blocks(of: first.size)).isNew)
        #expect(ahead.begin(second, blocks: FilesAhead.blocks(of: second.size)).isNew)
        #expect(!ahead.begin(third, blocks: FilesAhead.blocks(of: third.size)).isNew)
        _ = ahead.opened(.init(second), .success(try content()))
        #expect(ahead.begin(third, blocks: FilesAhead.blocks(of: third.size)).dropped.count == 1)
        #expect(ahead.opened(.init(first), .failure(.inputOutput)) == nil)
        #expect(ahead.count == 1)
    }
}
