import Glibc
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

/// Reading needs no permission to write. Root may write everywhere, so what counts here is that nobody tries to.
struct ReadingOnlyTests {
    private func entries(_ room: LocalRoom) throws -> [String] {
        try FileDescriptor(path: room.directory.path, flags: O_RDONLY).entries().map(\.name).sorted()
    }

    @Test("looking at a directory that is no store leaves it as it is")
    func nothingIsMade() async throws {
        let room = try LocalRoom()
        try room.plant("x", [1, 2, 3])
        // A clock that is behind: a file of this moment is not remembered, however slow the machine is.
        let store = try LocalObjectStore(room.directory.path, isDurable: false, time: ManualTime())
        let found = try #require(try await store.listAll(prefix: "").first)
        #expect(try await store.attributes(found.name, generation: nil).generation == found.generation)
        #expect(try await store.contents(found.name, generation: nil, limit: 10).bytes == [1, 2, 3])
        #expect(try await store.multipartUploads(prefix: "").isEmpty)
        #expect(try entries(room) == ["x"])
        // The first change makes what it needs; the same opening sees it.
        _ = try await store.put(try room.name("y"), ByteSegments([4]), WriteOptions(.absent, metadata: ["k": "v"]))
        #expect(try entries(room) == [".penstock-local", "x", "y"])
        #expect(try await store.attributes(try room.name("y"), generation: nil).metadata == ["k": "v"])
    }

    @Test("a directory without write permission can be read, and a change says what is not allowed")
    func withoutPermission() async throws {
        // sysfs lets nobody make anything, not even root.
        let store = try LocalObjectStore("/sys/kernel", createsDirectory: false)
        let page = try await store.list(ListRequest(prefix: "fscaps", delimiter: "/"))
        #expect(page.objects.map(\.name.value) == ["fscaps"])
        let error = await #expect(throws: ObjectStoreError.self) {
            try await store.put(try ObjectName("x"), ByteSegments([1]), WriteOptions(.absent))
        }
        #expect(error?.code == .forbidden, "\(String(describing: error))")
        #expect(error?.message.contains("/sys/kernel") == true)
    }

    @Test("another opening sees a store that was made after it")
    func madeLater() async throws {
        let room = try LocalRoom()
        let early = try room.store()
        #expect(try await early.listAll(prefix: "").isEmpty)
        let put = try await room.put("x", [1], metadata: ["k": "v"])
        let seen = try await early.attributes(put.name, generation: put.generation)
        #expect(seen.metadata == ["k": "v"])
    }
}
