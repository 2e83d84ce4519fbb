import Checksums
import Glibc
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct ForeignFilesTests {
    @Test("any tool reads what was put")
    func plainFiles() async throws {
        let room = try LocalRoom()
        try await room.put("a/b", [1, 2, 3])
        #expect(try DurableFile.read(room.directory.appending("a/b"), limit: 10) == [1, 2, 3])
    }

    @Test("a file of another tool is an object with a CRC32C and a generation that stays")
    func foreignFile() async throws {
        let room = try LocalRoom()
        try room.plant("x", [1, 2, 3])
        let first = try await room.store().attributes(try room.name("x"), generation: nil)
        #expect(first.crc32c == CRC32C.of([1, 2, 3]))
        #expect(first.size == 3)
        #expect(try await room.store().attributes(first.name, generation: nil).generation == first.generation)
        #expect(try await room.store().listAll(prefix: "").map(\.generation) == [first.generation])
        #expect(await failure { try await room.put("x", [9], .absent) } == .preconditionFailed)
        let replaced = try await room.put("x", [9], .generation(first.generation))
        #expect(replaced.generation != first.generation)
    }

    @Test("a file that another tool changes is another generation, and its reader notices")
    func changedBehindOurBack() async throws {
        let room = try LocalRoom()
        let written = try await room.put("x", [1, 2, 3], metadata: ["k": "v"])
        let store = try room.store()
        let source = store.source(written)
        let buffer = BufferLease(size: 3)
        try await source.read(RangeRead(ByteRange(offset: 0, count: 3), into: buffer))
        try room.plant("x", [4, 5])
        let changed = try await store.attributes(written.name, generation: nil)
        #expect(changed.generation != written.generation)
        #expect(changed.metadata.isEmpty)
        #expect(changed.crc32c == CRC32C.of([4, 5]))
        let range = ByteRange(offset: 0, count: 2)
        #expect(await failure { try await source.read(RangeRead(range, into: buffer)) } == .notFound)
        #expect(await failure { try await room.put("x", [9], .generation(written.generation)) } == .preconditionFailed)
    }

    @Test("bytes that rot without a trace are found when all are read")
    func rot() async throws {
        let room = try LocalRoom()
        try await room.put("x", [1, 2, 3])
        let path = room.directory.appending("x")
        var times = [timespec(), timespec()]
        let before = try FileDescriptor(path: path, flags: O_RDONLY).status()
        try FileDescriptor(path: path, flags: O_WRONLY).write([7], at: 1)
        let nanoseconds = before.modified.nanoseconds
        times[1].tv_sec = Int(nanoseconds / 1_000_000_000)
        times[1].tv_nsec = Int(nanoseconds % 1_000_000_000)
        times[0] = times[1]
        #expect(utimensat(AT_FDCWD, path, times, 0) == 0)
        #expect(await failure { _ = try await room.contents("x") } == .integrity)
    }

    @Test("a foreign file can be patched, moved, copied and composed")
    func foreignOperations() async throws {
        let room = try LocalRoom()
        let store = try room.store()
        try room.plant("x", [1, 2, 3])
        let name = try room.name("x")
        let first = try await store.attributes(name, generation: nil)
        let patched = try await store.patch(name, first.generation, metageneration: 1, metadata: ["k": "v"])
        #expect(patched.generation == first.generation)
        #expect(patched.crc32c == CRC32C.of([1, 2, 3]))
        let twice = [ComposeSource(name, first.generation), ComposeSource(name, first.generation)]
        _ = try await store.compose(twice, into: try room.name("twice"), WriteOptions(.absent))
        #expect(try await room.contents("twice") == [1, 2, 3, 1, 2, 3])
        let moved = try await store.move(name, first.generation, to: try room.name("d/y"), precondition: .absent)
        #expect(moved.metadata == ["k": "v"])
        #expect(try await room.names() == ["d/y", "twice"])
    }

    @Test("attributes that are damaged are an error, not a guess")
    func damagedAttributes() async throws {
        let room = try LocalRoom()
        try await room.put("x", [1])
        let attributes = room.directory.appending(".penstock-local/attributes")
        let folder = try FileDescriptor(path: attributes, flags: O_RDONLY)
        for entry in try folder.entries() {
            for file in try folder.directory(entry.name).entries() {
                try DurableFile.replace("\(attributes)/\(entry.name)/\(file.name)", Array("{\"name\":".utf8))
            }
        }
        #expect(await failure { _ = try await room.contents("x") } == .integrity)
    }

    @Test("a directory goes with its last object, and only then")
    func emptyDirectories() async throws {
        let room = try LocalRoom()
        let one = try await room.put("a/b/one", [1])
        let two = try await room.put("a/two", [2])
        try await room.store().delete(one.name, one.generation)
        try await room.put("a/b", [3])
        try await room.store().delete(two.name, two.generation)
        #expect(try await room.names() == ["a/b"])
    }
}
