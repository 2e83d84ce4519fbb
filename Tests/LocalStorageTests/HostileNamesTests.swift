import Glibc
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct HostileNamesTests {
    @Test(
        "names that would leave the directory, or that it cannot keep, are refused",
        arguments: [
            "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a", "a/./b",
            ".penstock-local", ".penstock-local/lock", ".penstock-local/attributes/x",
            String(repeating: "n", count: 256), "a/" + String(repeating: "n", count: 1022),
        ]
    )
    func refused(name: String) async throws {
        let room = try LocalRoom()
        #expect(await failure { try await room.put(name, [1]) } == .invalidName)
        #expect(await failure { _ = try await room.contents(name) } == .invalidName)
        let session = { try await room.store().beginUpload(try room.name(name), size: 1, WriteOptions(.any)) }
        #expect(await failure { _ = try await session() } == .invalidName)
        #expect(try await room.names().isEmpty)
    }

    @Test("names of 1,024 bytes are kept when their segments are short enough")
    func longNames() async throws {
        let room = try LocalRoom()
        let segment = String(repeating: "n", count: 204)
        let long = [segment, segment, segment, segment, segment].joined(separator: "/")
        #expect(long.utf8.count == ObjectName.maximumLength)
        try await room.put(long, [7])
        #expect(try await room.contents(long) == [7])
        #expect(try await room.names() == [long])
    }

    @Test("a file where a directory is needed, and a directory where a file is, are clear errors")
    func fileAgainstDirectory() async throws {
        let room = try LocalRoom()
        try await room.put("a", [1])
        #expect(await failure { try await room.put("a/b", [2]) } == .invalidName)
        try await room.put("c/d", [3])
        #expect(await failure { try await room.put("c", [4]) } == .invalidName)
        #expect(await failure { _ = try await room.contents("c") } == .notFound)
        #expect(await failure { _ = try await room.contents("a/b") } == .notFound)
        #expect(try await room.names() == ["a", "c/d"])
    }

    @Test("a symbolic link is no object, and leads nowhere")
    func symbolicLinks() async throws {
        let room = try LocalRoom()
        let outside = try TemporaryDirectory()
        #expect(symlink(outside.path, room.directory.appending("out")) == 0)
        #expect(symlink("/etc/passwd", room.directory.appending("file")) == 0)
        #expect(mkfifo(room.directory.appending("pipe"), 0o600) == 0)
        #expect(await failure { try await room.put("out/x", [1]) } == .invalidName)
        #expect(await failure { _ = try await room.contents("file") } == .notFound)
        #expect(await failure { _ = try await room.contents("pipe") } == .notFound)
        #expect(try await room.names().isEmpty)
        #expect(try FileDescriptor(path: outside.path, flags: O_RDONLY).entries().isEmpty)
        try await room.put("file", [2])
        #expect(try await room.contents("file") == [2])
    }

    @Test("the store's own files are no objects")
    func ownFiles() async throws {
        let room = try LocalRoom()
        try await room.put("x", [1])
        _ = try await room.store().beginUpload(try room.name("y"), size: 1, WriteOptions(.any))
        #expect(try await room.names() == ["x"])
        #expect(try await room.names(".penstock").isEmpty)
    }

    @Test("a directory that is missing is told from an object that is")
    func missingDirectory() throws {
        let directory = try TemporaryDirectory()
        #expect(throws: ObjectStoreError.self) {
            try LocalObjectStore(directory.appending("none"), createsDirectory: false)
        }
        _ = try LocalObjectStore(directory.appending("some/where"))
    }
}
