import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct InodeTableTests {
    private func table() throws -> InodeTable { try InodeTable(modified: UnixTime(seconds: 5)) }

    private func file(_ name: String, generation: Int64 = 1) throws -> DirectoryEntry {
        let facts = FileFacts(
            object: try ObjectName(name),
            generation: Generation(generation),
            size: 10,
            modified: UnixTime(seconds: generation),
            crc32c: nil
        )
        return DirectoryEntry(file: facts, name: try #require(EntryName(name)))
    }

    private func directory(_ name: String) throws -> DirectoryEntry {
        DirectoryEntry(directory: try #require(EntryName(name)), modified: UnixTime(seconds: 1))
    }

    @Test func aNameAndGenerationIsOneInode() throws {
        let table = try table()
        let entry = try file("a")
        let first = try table.enter(entry.name, in: .root, entry)
        let second = try table.enter(entry.name, in: .root, entry)
        #expect(first.node == second.node)
        #expect(second.lookups == 2)
        #expect(table.path(first.node)?.map(\.value) == ["a"])
    }

    @Test func anotherGenerationIsAnotherInodeAndTheOldOneStays() throws {
        let table = try table()
        let old = try table.enter(#require(EntryName("a")), in: .root, file("a", generation: 1))
        let new = try table.enter(#require(EntryName("a")), in: .root, file("a", generation: 2))
        #expect(old.node != new.node)
        #expect(old.number != new.number)
        #expect(table.record(old.node)?.isSuperseded == true)
        #expect(table.record(new.node)?.isSuperseded == false)
        #expect(table.record(old.node)?.generation == Generation(1))
    }

    @Test func whatIsForgottenGoesAndItsNumberIsNotUsedAgain() throws {
        let table = try table()
        let name = try #require(EntryName("a"))
        let first = try table.enter(name, in: .root, file("a"))
        _ = try table.enter(name, in: .root, file("a"))
        #expect(table.forget(first.node, 1).isEmpty)
        #expect(table.forget(first.node, 1) == [first.node])
        #expect(table.record(first.node) == nil)
        #expect(try table.enter(name, in: .root, file("a")).node.value > first.node.value)
    }

    @Test func aDirectoryStaysAsLongAsSomethingStandsInIt() throws {
        let table = try table()
        let parent = try table.enter(#require(EntryName("d")), in: .root, directory("d"))
        let child = try table.enter(#require(EntryName("a")), in: parent.node, file("a"))
        #expect(table.forget(parent.node, 1).isEmpty)
        #expect(table.path(child.node)?.map(\.value) == ["d", "a"])
        #expect(table.forget(child.node, 1) == [child.node, parent.node])
        #expect(table.count == 1)
    }

    @Test(arguments: [1, 55, 56, 57, 112, 113, 254, 255])
    func namesOfAnyLengthComeBack(length: Int) throws {
        let table = try table()
        let text = String(repeating: "ü", count: length / 2) + String(repeating: "x", count: length % 2)
        let name = try #require(EntryName(text))
        let record = try table.enter(name, in: .root, file("a"))
        #expect(table.name(record.node) == name)
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func anotherProcessFindsTheSameTable(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let table = try table()
        var known: [NodeID] = [.root]
        for step in 0..<600 {
            if Int.random(in: 0..<3, using: &random) > 0, let parent = known.randomElement(using: &random),
                table.record(parent)?.isDirectory == true
            {
                let text = "n\(Int.random(in: 0..<40, using: &random))"
                let isDirectory = Int.random(in: 0..<4, using: &random) == 0
                let entry =
                    isDirectory
                    ? try directory(text) : try file(text, generation: Int64.random(in: 1...3, using: &random))
                known.append(try table.enter(entry.name, in: parent, entry).node)
            } else if let node = known.randomElement(using: &random) {
                let gone = Set(table.forget(node, UInt64.random(in: 1...3, using: &random)))
                known.removeAll { gone.contains($0) || ($0 == node && gone.contains(node)) }
            }
            if step % 200 == 199 { try expectAdoptable(table, known) }
        }
    }

    private func expectAdoptable(_ table: InodeTable, _ known: [NodeID]) throws {
        let descriptor = FileDescriptor(owning: dup(table.descriptor))
        let adopted = try InodeTable(adopting: descriptor)
        #expect(adopted.count == table.count)
        for node in known {
            #expect(adopted.record(node) == table.record(node))
            #expect(adopted.path(node) == table.path(node))
        }
    }

    @Test func whatIsNoTableIsNotAdopted() throws {
        #expect(throws: Errno.invalidArgument) {
            try InodeTable(adopting: MemoryFile(name: "other", size: 4096).releasedDescriptor())
        }
    }
}

extension MemoryFile {
    fileprivate consuming func releasedDescriptor() -> FileDescriptor {
        FileDescriptor(owning: dup(descriptor.rawValue))
    }
}
