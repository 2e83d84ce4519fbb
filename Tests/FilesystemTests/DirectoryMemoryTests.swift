import Foundation
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// What a directory of very many entries takes; `--memory` does not count it.
@Suite(.serialized) struct DirectoryMemoryTests {
    private static let count = 100_000

    /// Bytes of the process that are in memory. What other tests have freed is used first, so this shows rather less.
    private static func resident() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) }) * 4096
    }

    private static let base = "models/organisation/name/"

    private func entry(_ number: Int) throws -> DirectoryEntry {
        let name = "model-\(number)-of-\(Self.count).safetensors"
        let facts = FileFacts(
            object: try ObjectName(Self.base + name),
            generation: Generation(1_700_000_000_000_000 + Int64(number)),
            size: number,
            modified: UnixTime(seconds: 1_700_000_000),
            crc32c: nil
        )
        return DirectoryEntry(file: facts, name: try #require(EntryName(name)))
    }

    private func listing() throws -> DirectoryListing {
        var builder = DirectoryEntries.Builder(base: Self.base)
        for number in 0..<Self.count { builder.append(try entry(number)) }
        return DirectoryListing(builder.finish { _ in }, validUntil: .distantFuture)
    }

    @Test func anEntryOfAListingTakesSoManyBytes() throws {
        let before = try Self.resident()
        let listing = try listing()
        let each = try (Self.resident() - before) / Self.count
        print("an entry of a listing takes \(each) bytes")
        #expect(each < 200)
        #expect(listing.entries.count == Self.count)
    }

    @Test func anInodeTakesSoManyBytesAndNoneWhenItIsForgotten() throws {
        let listing = try listing()
        let table = try InodeTable(modified: UnixTime(seconds: 0))
        let before = try Self.resident()
        var nodes: [NodeID] = []
        for entry in listing.entries { nodes.append(try table.enter(entry.name, in: .root, entry).node) }
        let each = try (Self.resident() - before) / Self.count
        print("an inode takes \(each) bytes")
        #expect(each < 400)
        for node in nodes { #expect(table.forget(node, 1) == [node]) }
        #expect(table.count == 1)
    }
}
