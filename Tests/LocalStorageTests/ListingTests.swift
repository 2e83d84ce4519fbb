import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct ListingTests {
    @Test("pages of random trees agree with the bucket in memory", arguments: 0..<6 as Range<UInt64>)
    func randomTrees(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let room = try LocalRoom()
        let store = try room.store()
        let memory = MemoryObjectStore()
        let segments = ["a", "a.b", "a b", "b", "é", "z-", "0"]
        for _ in 0..<40 {
            let depth = Int.random(in: 1...3, using: &random)
            let name = (0..<depth).compactMap { _ in segments.randomElement(using: &random) }.joined(separator: "/")
            // Names that a directory cannot keep beside the others are left out of both.
            if await failure({ try await room.put(name, [1]) }) == nil { try memory.bucket.plant(name, [1]) }
        }
        let prefixes = ["", "a", "a/", "a/b", "b/", "b/a/", "none", "a.", "é/"]
        for prefix in prefixes {
            for delimiter in [nil, "/"] {
                for start in [nil, "a/b", "b"] {
                    var request = ListRequest(prefix: prefix, delimiter: delimiter, startOffset: start)
                    request.pageSize = Int.random(in: 1...7, using: &random)
                    #expect(try await entries(store, request) == entries(memory, request), "\(request)")
                }
            }
        }
    }

    private func entries(_ store: any ObjectStore, _ request: ListRequest) async throws -> [[String]] {
        var request = request
        var pages: [[String]] = []
        repeat {
            let page = try await store.list(request)
            pages.append(page.objects.map(\.name.value) + page.prefixes)
            request.pageToken = page.nextPageToken
        } while request.pageToken != nil
        return pages
    }

    @Test("a directory without files is no prefix")
    func emptyDirectory() async throws {
        let room = try LocalRoom()
        try await room.put("a/b/c", [1])
        let gone = try await room.store().attributes(try room.name("a/b/c"), generation: nil)
        try room.plant("x", [1])
        try await room.store().delete(gone.name, gone.generation)
        let page = try await room.store().list(ListRequest(prefix: "", delimiter: "/"))
        #expect(page.prefixes.isEmpty)
        #expect(page.objects.map(\.name.value) == ["x"])
    }

    @Test("a token that this store did not give is refused")
    func foreignToken() async throws {
        let room = try LocalRoom()
        #expect(
            await failure { _ = try await room.store().list(ListRequest(prefix: "", pageToken: "x")) }
                == .invalidRequest
        )
        #expect(
            await failure { _ = try await room.store().list(ListRequest(prefix: "", pageSize: 0)) } == .invalidRequest
        )
    }
}
