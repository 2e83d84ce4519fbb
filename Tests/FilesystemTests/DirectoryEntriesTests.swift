import Checksums
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct DirectoryEntriesTests {
    private static func entry(_ name: String, using random: inout SeededRandom) throws -> DirectoryEntry {
        let entryName = try #require(EntryName(name))
        let modified = UnixTime(nanoseconds: .random(in: 0...1 << 60, using: &random))
        if Int.random(in: 0..<4, using: &random) == 0 {
            return DirectoryEntry(directory: entryName, modified: modified)
        }
        func maybe<Value>(_ value: Value) -> Value? { Bool.random(using: &random) ? value : nil }
        let facts = FileFacts(
            object: try ObjectName(Int.random(in: 0..<8, using: &random) == 0 ? "elsewhere/\(name)" : "base/\(name)"),
            generation: Generation(.random(in: 0 ... .max, using: &random)),
            size: .random(in: 0...1 << 50, using: &random),
            modified: modified,
            crc32c: maybe(CRC32C(.random(in: 0 ... .max, using: &random))),
            sha256: maybe("abc\(name)"),
            commit: maybe("commit"),
            hasTable: .random(using: &random)
        )
        return DirectoryEntry(file: facts, name: entryName)
    }

    private static func isSame(_ left: DirectoryEntry, _ right: DirectoryEntry) -> Bool {
        left.name == right.name && left.isDirectory == right.isDirectory && left.modified == right.modified
            && left.file?.object == right.file?.object && left.generation == right.generation
            && left.file?.size == right.file?.size && left.file?.crc32c == right.file?.crc32c
            && left.file?.sha256 == right.file?.sha256 && left.file?.commit == right.file?.commit
            && left.file?.hasTable == right.file?.hasTable
    }

    private static let alphabet = ["a", "b", "ab", "é", "e\u{301}", "z-", "0", "\u{1F600}"]

    /// What goes in comes out: sorted by bytes, each name once, a directory rather than a file.
    @Test(arguments: 0..<60 as Range<UInt64>)
    func whatIsPackedComesOutAsItWas(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var given: [DirectoryEntry] = []
        for _ in 0..<Int.random(in: 0...60, using: &random) {
            let letters = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                Self.alphabet[Int.random(in: 0..<Self.alphabet.count, using: &random)]
            }
            given.append(try Self.entry(letters.joined(), using: &random))
        }
        if Bool.random(using: &random) { given.sort { $0.name < $1.name } }
        var expected: [EntryName: DirectoryEntry] = [:]
        for entry in given {
            if let known = expected[entry.name], known.isDirectory || !entry.isDirectory { continue }
            expected[entry.name] = entry
        }
        var builder = DirectoryEntries.Builder(base: "base/")
        for entry in given { builder.append(entry) }
        var dropped: Set<EntryName> = []
        let entries = builder.finish { dropped.insert($0) }
        #expect(entries.map(\.name) == expected.keys.sorted())
        for entry in entries {
            let original = try #require(expected[entry.name])
            #expect(Self.isSame(entry, original))
        }
        let mixed = Set(given.filter(\.isDirectory).map(\.name)).intersection(
            given.filter { !$0.isDirectory }.map(\.name)
        )
        #expect(dropped == mixed)
        let listing = DirectoryListing(entries, validUntil: .distantFuture)
        for letter in Self.alphabet {
            let name = try #require(EntryName(letter))
            #expect((listing[name] != nil) == (expected[name] != nil))
        }
        #expect(listing.directories == entries.filter(\.isDirectory).map(\.name))
    }
}
