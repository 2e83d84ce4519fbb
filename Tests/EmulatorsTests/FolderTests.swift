import Testing

@testable import Emulators

/// Buckets with a hierarchical namespace.
@Suite struct FolderTests {
    private let storage: CloudStorageHarness
    private let base = "/storage/v1/b/hns/folders"

    init() throws {
        storage = try CloudStorageHarness()
        storage.call(
            "POST",
            "/storage/v1/b?project=p",
            body: #"{"name":"hns","hierarchicalNamespace":{"enabled":true}}"#
        )
    }

    private func create(_ name: String, _ query: String = "") -> Int {
        storage.call("POST", base + query, body: "{\"name\":\"\(name)\"}").status
    }

    private func listed(_ query: String = "") -> [String] {
        (storage.call("GET", base + query).json["items"]?.elements ?? []).compactMap { $0["name"]?.text }
    }

    @Test func createAndDelete() throws {
        #expect(create("a/b/") == 404)
        #expect(create("a/b/", "?recursive=true") == 200)
        #expect(create("a/b/") == 409)
        #expect(create("plain") == 400)
        #expect(storage.call("GET", "\(base)/a%2F").json["metageneration"] == "1")
        #expect(storage.call("GET", "/storage/v1/b/hns/o/a%2F").status == 404)
        #expect(storage.call("DELETE", "\(base)/a%2F").status == 409)
        #expect(storage.call("DELETE", "\(base)/a%2Fb%2F").status == 204)
        #expect(storage.call("DELETE", "\(base)/a%2F").status == 204)
        #expect(listed().isEmpty)
    }

    @Test func objectsBringTheirFolders() throws {
        try storage.put("x/y/z", bucket: "hns")
        #expect(listed() == ["x/", "x/y/"])
        #expect(listed("?delimiter=/") == ["x/"])
        #expect(listed("?prefix=x/&delimiter=/") == ["x/", "x/y/"])
        #expect(storage.call("DELETE", "/storage/v1/b/hns/o/x%2Fy%2Fz").status == 204)
        #expect(listed() == ["x/", "x/y/"])
        let query = "prefix=x/&delimiter=/"
        let plain = storage.call("GET", "/storage/v1/b/hns/o?\(query)").json
        #expect(plain["prefixes"] == nil)
        let with = storage.call("GET", "/storage/v1/b/hns/o?\(query)&includeFoldersAsPrefixes=true").json
        #expect(with["prefixes"] == ["x/y/"])
    }

    @Test func renameIsAnOperationThatIsPolled() throws {
        try storage.put("old/a/1", "one", bucket: "hns")
        try storage.put("old/2", "two", bucket: "hns")
        try storage.put("other", bucket: "hns")
        #expect(storage.call("POST", "\(base)/old%2F/renameTo/folders/none%2Fnew%2F").status == 404)
        #expect(storage.call("POST", "\(base)/old%2F/renameTo/folders/old%2Fnew%2F").status == 400)
        let operation = storage.call("POST", "\(base)/old%2F/renameTo/folders/new%2F").json
        #expect(operation["done"] == false)
        let name = try #require(operation["name"]?.text?.split(separator: "/").last)
        let polled = storage.call("GET", "/storage/v1/b/hns/operations/\(name)").json
        #expect(polled["done"] == true)
        #expect(polled["response"]?["name"] == "new/")
        #expect(listed() == ["new/", "new/a/"])
        #expect(storage.call("GET", "/hns/new/a/1").text == "one")
        #expect(storage.call("GET", "/hns/old/2").status == 404)
        #expect(storage.call("GET", "/storage/v1/b/hns/operations/1").status == 404)
    }

    @Test func layoutSaysIt() {
        #expect(
            storage.call("GET", "/storage/v1/b/hns/storageLayout").json["hierarchicalNamespace"]?["enabled"] == true
        )
        #expect(storage.call("GET", "/storage/v1/b/bkt/storageLayout").json["hierarchicalNamespace"] == nil)
        #expect(storage.call("GET", "/storage/v1/b/bkt/folders").status == 409)
    }

    @Test func foldersSurviveARestart() throws {
        #expect(create("kept/") == 200)
        let again = try CloudStorageHarness(root: storage.root)
        #expect(again.call("GET", "\(base)/kept%2F").status == 200)
    }
}
