import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// Files that are open and whose name is another's, or nobody's.
@Suite struct WriteBackOpenFileTests {
    private let old = [UInt8](repeating: 7, count: 90)

    private func opened(_ life: WriteBackLife, _ path: String, _ mode: OpenMode = .read) async throws -> TreeHandle {
        let node = try await life.lookup(path)
        let (mount, request) = (life.mount, life.request())
        return try await life.call { mount.open(request, node, mode, truncates: false, $0) }.get().handle
    }

    private func write(_ life: WriteBackLife, _ name: String, _ bytes: [UInt8]) async throws {
        let handle = try await life.create(name)
        try await life.write(bytes, handle, at: 0)
        try await life.release(handle)
    }

    private func rename(_ life: WriteBackLife, _ name: String, _ newName: String) async throws {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, name, in: .root, to: newName, in: .root, .replace, $0) }.get()
    }

    private func unlink(_ life: WriteBackLife, _ name: String) async throws {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, name, in: .root, $0) }.get()
    }

    /// A server reads `latest` for hours, the trainer puts the next one there.
    @Test func whoHasAReplacedFileOpenReadsItsOldBytes() async throws {
        let life = try WriteBackLife(seed: 41)
        try life.bucket.plant("run/latest", old)
        let handle = try await opened(life, "latest")
        try await write(life, "new", [1, 2, 3])
        try await rename(life, "new", "latest")
        try await life.drain()
        #expect(life.published == ["latest": [1, 2, 3]])
        #expect(try await life.read(handle) == old)
        // The name never stood for nothing.
        let looking: [StoreOperation] = [.list, .read, .attributes]
        let changes = life.store.calls.map(\.operation).filter { !looking.contains($0) }
        #expect(changes == [.put, .copy, .move])
        try life.die()
        #expect(try await life.read(handle) == old)
        try await life.release(handle)
        try await life.drain()
        #expect(life.leftovers.isEmpty)
        #expect(life.published == ["latest": [1, 2, 3]])
    }

    @Test func anUnlinkedFileThatIsOpenIsReadAfterAnotherHasItsName() async throws {
        let life = try WriteBackLife(seed: 42)
        try life.bucket.plant("run/a", old)
        let handle = try await opened(life, "a")
        try await unlink(life, "a")
        try await write(life, "a", [4])
        try await life.drain()
        #expect(life.published == ["a": [4]])
        #expect(try await life.read(handle) == old)
        try await life.release(handle)
        try await life.drain()
        #expect(life.leftovers.isEmpty)
    }

    /// Only a part of it was written here: the rest is the object's.
    @Test func aFileWithoutANameIsWrittenOverItsOldBytes() async throws {
        let life = try WriteBackLife(seed: 43)
        try life.bucket.plant("run/a", old)
        try life.bucket.plant("run/b", [5])
        let handle = try await opened(life, "a", [.read, .write])
        try await life.write([1], handle, at: 10)
        try await unlink(life, "a")
        try await rename(life, "b", "a")
        try await life.drain()
        #expect(life.published == ["a": [5]])
        var expected = old
        expected[10] = 1
        #expect(try await life.read(handle) == expected)
        try await life.write([2], handle, at: 89)
        expected[89] = 2
        #expect(try await life.read(handle) == expected)
        try await life.release(handle)
        try await life.drain()
        #expect(life.leftovers.isEmpty && life.published == ["a": [5]])
    }

    @Test func whatNeedsNoObjectIsNotCopied() async throws {
        let life = try WriteBackLife(seed: 44)
        let handle = try await life.create("a")
        try await life.write(old, handle, at: 0)
        let reader = try await opened(life, "a")
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": old])
        // Its bytes are here as long as somebody has it open.
        try await write(life, "b", [5])
        try await rename(life, "b", "a")
        try await life.drain()
        #expect(try await life.read(reader) == old)
        #expect(!life.store.calls.contains { $0.operation == .copy })
    }

    /// The process dies after any step, the handle is the next one's, and the network loses replies.
    @Test func deathAfterAnyStepOfACopyLosesNoByteAndLeavesNone() async throws {
        for last in 0..<40 {
            let life = try WriteBackLife(seed: UInt64(500 + last), Weather(loss: 20, refusal: 10))
            try life.bucket.plant("run/a", old)
            let handle = try await opened(life, "a")
            try await write(life, "b", [5])
            try await rename(life, "b", "a")
            for _ in 0..<last { await life.step() }
            try life.die()
            #expect(try await life.read(handle) == old, "after \(last)")
            try await life.drain()
            #expect(try await life.read(handle) == old, "after \(last)")
            #expect(life.published == ["a": [5]], "after \(last)")
            try await life.release(handle)
            try await life.drain()
            #expect(life.leftovers.isEmpty, "after \(last)")
            #expect(life.mount.status.conflicts.isEmpty, "after \(last)")
        }
    }
}
