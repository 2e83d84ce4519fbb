import Checksums
import Testing

@testable import Emulators

/// What changes objects and buckets.
@Suite struct CloudStorageChangeTests {
    private let storage: CloudStorageHarness

    init() throws { storage = try CloudStorageHarness() }

    @Test func patchMergesAndNullRemoves() throws {
        let generation = try storage.put("o")
        _ = storage.call("PATCH", "/storage/v1/b/bkt/o/o", body: #"{"metadata":{"a":"1","b":"2"}}"#)
        let patched = storage.call(
            "POST",
            "/storage/v1/b/bkt/o/o?ifMetagenerationMatch=2",
            ["X-HTTP-Method-Override": "PATCH"],
            body: #"{"metadata":{"a":null,"c":"3"},"cacheControl":"no-store","size":"9"}"#
        ).json
        #expect(patched["metadata"] == ["b": "2", "c": "3"])
        #expect(patched["metageneration"] == "3")
        #expect(patched["generation"]?.int64 == generation)
        #expect(patched["size"] == "1")
        #expect(storage.call("PATCH", "/storage/v1/b/bkt/o/o?ifMetagenerationMatch=2", body: "{}").status == 412)
        let replaced = storage.call("PUT", "/storage/v1/b/bkt/o/o", body: #"{"contentType":"a/b"}"#).json
        #expect(replaced["metadata"] == nil)
    }

    @Test func multipartUploadsCompareWhatTheyWereTold() throws {
        func upload(_ resource: String, query: String = "") -> Int {
            let body =
                "--x\r\nContent-Type: application/json\r\n\r\n\(resource)\r\n"
                + "--x\r\nContent-Type: text/plain\r\n\r\nhello world\r\n--x--\r\n"
            return storage.call(
                "POST",
                "/upload/storage/v1/b/bkt/o?uploadType=multipart\(query)",
                ["Content-Type": "multipart/related; boundary=\"x\""],
                body: body
            ).status
        }
        #expect(upload(#"{"name":"o","crc32c":"AAAAAA=="}"#) == 400)
        #expect(upload(#"{"name":"o","md5Hash":"AAAAAAAAAAAAAAAAAAAAAA=="}"#) == 400)
        #expect(upload(#"{"name":"o"}"#, query: "&name=p") == 400)
        #expect(upload("{}") == 400)
        #expect(upload("nonsense") == 400)
        #expect(storage.names().isEmpty)
        #expect(storage.blobCount == 0)
        #expect(upload(#"{"name":"o","crc32c":"yZRlqg==","md5Hash":"XrY7u+Ae7tCTyyK7j1rNww=="}"#) == 200)
        #expect(storage.content("o") == "hello world")
    }

    @Test func composeCountsComponentsAndHasNoMD5() throws {
        for name in ["a", "b", "c"] { try storage.put(name, name) }
        let first = storage.call(
            "POST",
            "/storage/v1/b/bkt/o/ab/compose",
            body: #"{"sourceObjects":[{"name":"a"},{"name":"b"}]}"#
        )
        #expect(first.json["componentCount"] == 2)
        let second = storage.call(
            "POST",
            "/storage/v1/b/bkt/o/ab/compose",
            body: #"{"sourceObjects":[{"name":"ab"},{"name":"c"}],"destination":{"metadata":{"k":"v"}}}"#
        ).json
        #expect(second["componentCount"] == 3)
        #expect(second["md5Hash"] == nil)
        #expect(second["crc32c"]?.text == CRC32C.of(Array("abc".utf8)).base64)
        #expect(storage.content("ab") == "abc")
    }

    @Test func composeRefusesTooManyMissingAndMoved() throws {
        let generation = try storage.put("a")
        func compose(_ sources: [String]) -> Int {
            storage.call(
                "POST",
                "/storage/v1/b/bkt/o/x/compose",
                body: "{\"sourceObjects\":[\(sources.joined(separator: ","))]}"
            ).status
        }
        #expect(compose([String](repeating: #"{"name":"a"}"#, count: 32)) == 200)
        #expect(compose([String](repeating: #"{"name":"a"}"#, count: 33)) == 400)
        #expect(compose([]) == 400)
        #expect(compose([#"{"name":"none"}"#]) == 404)
        #expect(compose(["{\"name\":\"a\",\"generation\":\"1\"}"]) == 404)
        #expect(compose(["{\"name\":\"a\",\"objectPreconditions\":{\"ifGenerationMatch\":\"1\"}}"]) == 412)
        #expect(compose(["{\"name\":\"a\",\"generation\":\"\(generation)\"}"]) == 200)
    }

    @Test func rewriteGoesOnWithItsToken() throws {
        let content = String(repeating: "x", count: 5 << 19)
        let generation = try storage.put("o", content)
        let target = "/storage/v1/b/bkt/o/o/rewriteTo/b/bkt/o/p?maxBytesRewrittenPerCall=1048576"
        var reply = storage.call("POST", target).json
        var calls = 1
        while let token = reply["rewriteToken"]?.text {
            #expect(reply["done"] == false)
            #expect(storage.content("p") == nil)
            reply = storage.call("POST", "\(target)&rewriteToken=\(percentEncoded(token))").json
            calls += 1
        }
        #expect(calls == 3)
        #expect(reply["resource"]?["size"] == "2621440")
        #expect(storage.content("p") == content)
        #expect(storage.blobCount == 1)
        #expect(
            storage.call("POST", "/storage/v1/b/bkt/o/o/rewriteTo/b/bkt/o/q?maxBytesRewrittenPerCall=5").status == 400
        )
        let pinned = "/storage/v1/b/bkt/o/o/rewriteTo/b/bkt/o/q?sourceGeneration="
        #expect(storage.call("POST", "\(pinned)1").status == 404)
        #expect(storage.call("POST", "\(pinned)\(generation)&ifSourceGenerationMatch=1").status == 412)
    }

    @Test func moveIsOneStep() throws {
        let generation = try storage.put("from", "content")
        try storage.put("taken")
        let move = "/storage/v1/b/bkt/o/from/moveTo/o/"
        #expect(storage.call("POST", "\(move)from").status == 400)
        #expect(storage.call("POST", "\(move)taken?ifGenerationMatch=0").status == 412)
        #expect(storage.call("POST", "\(move)to?ifSourceGenerationMatch=1").status == 412)
        let moved = storage.call("POST", "\(move)to?ifGenerationMatch=0&ifSourceGenerationMatch=\(generation)").json
        #expect(moved["metageneration"] == "1")
        #expect(storage.names() == ["taken", "to"])
        #expect(storage.content("to") == "content")
    }

    @Test func deleteTakesConditionsAndFreesBytes() throws {
        let generation = try storage.put("o")
        #expect(storage.call("DELETE", "/storage/v1/b/bkt/o/o?ifGenerationMatch=1").status == 412)
        #expect(storage.call("DELETE", "/storage/v1/b/bkt/o/o?generation=1").status == 404)
        #expect(storage.call("DELETE", "/storage/v1/b/bkt/o/o?generation=\(generation)").status == 204)
        #expect(storage.call("DELETE", "/storage/v1/b/bkt/o/o").status == 404)
        #expect(storage.blobCount == 0)
    }

    @Test(arguments: ["", ".", "..", "a\nb", String(repeating: "x", count: 1025), ".well-known/acme-challenge/x"])
    func namesThatAreNotAllowed(name: String) {
        let reply = storage.call(
            "POST",
            "/upload/storage/v1/b/bkt/o?uploadType=media&name=\(percentEncoded(name))",
            body: "x"
        )
        #expect(reply.status == 400)
    }

    @Test func bytesOfNamesMatter() throws {
        for name in ["é", "e\u{301}", "a//b", "a/./b", "#%+ ?", String(repeating: "x", count: 1024)] {
            try storage.put(name, name)
        }
        #expect(storage.names().count == 6)
        #expect(storage.content("e\u{301}").map { Array($0.utf8) } == Array("e\u{301}".utf8))
    }

    @Test func bucketsKeepWhatTheyWereGiven() {
        let created = storage.call(
            "POST",
            "/storage/v1/b?project=p",
            body: #"{"name":"eu-1","location":"europe-west4","storageClass":"NEARLINE"}"#
        ).json
        #expect(created["locationType"] == "region")
        #expect(created["softDeletePolicy"]?["retentionDurationSeconds"] == "604800")
        #expect(storage.call("POST", "/storage/v1/b?project=p", body: #"{"name":"eu-1"}"#).status == 409)
        #expect(storage.call("POST", "/storage/v1/b?project=p", body: #"{"name":"UPPER"}"#).status == 400)
        #expect(storage.call("GET", "/storage/v1/b/eu-1/storageLayout").json["location"] == "EUROPE-WEST4")
        #expect(storage.call("GET", "/storage/v1/b").status == 400)
        #expect(storage.call("DELETE", "/storage/v1/b/eu-1").status == 204)
    }

    @Test func damageStaysWithTheObject() throws {
        try storage.put("o", "hello")
        _ = storage.call("POST", "/storage/v1/b/bkt/o/o/copyTo/b/bkt/o/copy")
        #expect(storage.call("POST", "/_emulator/gcs/corrupt?bucket=bkt&object=o&byte=1").status == 204)
        #expect(storage.content("o") == "hdllo")
        #expect(storage.content("copy") == "hello")
        #expect(
            storage.call("HEAD", "/bkt/o").headers["x-goog-hash"] == "crc32c=\(CRC32C.of(Array("hello".utf8)).base64)"
        )
        #expect(storage.call("POST", "/_emulator/gcs/corrupt?bucket=bkt&object=o&byte=5").status == 400)
    }

    @Test func aRestartKeepsWhatWasAnswered() throws {
        try storage.put("gone")
        let generation = try storage.put("o", "one")
        _ = storage.call("PATCH", "/storage/v1/b/bkt/o/o", body: #"{"metadata":{"k":"v"}}"#)
        _ = storage.call("DELETE", "/storage/v1/b/bkt/o/gone")
        let before = storage.call("GET", "/storage/v1/b/bkt/o/o").json
        let again = try CloudStorageHarness(root: storage.root)
        #expect(again.call("GET", "/storage/v1/b/bkt/o/o").json == before)
        #expect(again.names() == ["o"])
        #expect(try again.put("o", "two") > generation)
    }
}
