import Testing

@testable import Emulators

/// What reads answer; the sections are those of the Cloud Storage documentation on ranges and conditions.
@Suite struct CloudStorageReadTests {
    @Test(arguments: [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"), ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"), ("bytes=-30", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"), ("bytes=5-2", 200, "0123456789", nil),
        ("bytes=0-1,4-5", 200, "0123456789", nil), ("lines=1-2", 200, "0123456789", nil),
    ]) func ranges(range: String, status: Int, content: String, contentRange: String?) throws {
        let storage = try CloudStorageHarness()
        try storage.put("o", "0123456789")
        for target in ["/storage/v1/b/bkt/o/o?alt=media", "/download/storage/v1/b/bkt/o/o?alt=media", "/bkt/o"] {
            let reply = storage.call("GET", target, ["Range": range])
            #expect(reply.status == status)
            #expect(reply.text == content)
            #expect(reply.headers["Content-Range"] == contentRange)
            #expect(reply.headers["x-goog-stored-content-length"] == "10")
        }
    }

    @Test(arguments: [("0123456789", "bytes=10-"), ("0123456789", "bytes=-0"), ("", "bytes=0-"), ("", "bytes=-1")])
    func rangesWithoutBytesAreNotSatisfiable(content: String, range: String) throws {
        let storage = try CloudStorageHarness()
        try storage.put("o", content)
        let reply = storage.call("GET", "/bkt/o", ["Range": range])
        #expect(reply.status == 416)
        #expect(reply.headers["Content-Range"] == "bytes */\(content.utf8.count)")
        #expect(reply.text.hasPrefix("<?xml"))
        #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?alt=media", ["Range": range]).status == 416)
    }

    @Test func conditionsOfReads() throws {
        let storage = try CloudStorageHarness()
        let generation = try storage.put("o")
        let expected: [(String, Int)] = [
            ("ifGenerationMatch=\(generation)", 200), ("ifGenerationMatch=1", 412), ("ifGenerationMatch=0", 412),
            ("ifGenerationNotMatch=\(generation)", 304), ("ifGenerationNotMatch=0", 200),
            ("ifMetagenerationMatch=1", 200), ("ifMetagenerationMatch=2", 412),
            ("ifMetagenerationNotMatch=1", 304), ("generation=\(generation)", 200), ("generation=1", 404),
            ("ifGenerationMatch=x", 400),
        ]
        for (query, status) in expected {
            #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?\(query)").status == status, "\(query)")
            #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?alt=media&\(query)").status == status, "\(query)")
        }
    }

    @Test func conditionsOfTheXMLAPIAreHeaderFields() throws {
        let storage = try CloudStorageHarness()
        let generation = try storage.put("o")
        let etag = try #require(storage.call("HEAD", "/bkt/o").headers["ETag"])
        #expect(storage.call("GET", "/bkt/o", ["x-goog-if-generation-match": "1"]).status == 412)
        #expect(storage.call("GET", "/bkt/o", ["x-goog-if-generation-match": "\(generation)"]).status == 200)
        #expect(storage.call("GET", "/bkt/o", ["If-None-Match": etag]).status == 304)
        #expect(storage.call("PUT", "/bkt/o", ["x-goog-if-generation-match": "0"], body: "new").status == 412)
        #expect(storage.call("PUT", "/bkt/o", ["Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="], body: "new").status == 400)
        #expect(storage.content("o") == "x")
    }

    @Test func aRangeHoldsOnlyForTheRepresentationItWasAskedOf() throws {
        let storage = try CloudStorageHarness()
        try storage.put("o", "content")
        for target in ["/bkt/o", "/storage/v1/b/bkt/o/o?alt=media"] {
            let whole = storage.call("GET", target)
            for field in ["ETag", "Last-Modified"] {
                let validator = try #require(whole.headers[field])
                let part = storage.call("GET", target, ["Range": "bytes=0-1", "If-Range": validator])
                #expect(part.status == 206)
                #expect(part.text == "co")
            }
            for validator in ["\"other\"", "W/\(whole.headers["ETag"] ?? "")", "Thu, 01 Jan 1970 00:00:00 GMT", ""] {
                let other = storage.call("GET", target, ["Range": "bytes=0-1", "If-Range": validator])
                #expect(other.status == 200)
                #expect(other.text == "content")
                #expect(other.headers["Content-Range"] == nil)
            }
        }
    }

    @Test func errorsHaveTheFormOfTheirAPI() throws {
        let storage = try CloudStorageHarness()
        let resource = storage.call("GET", "/storage/v1/b/bkt/o/none")
        #expect(resource.json["error"]?["errors"]?.elements?.first?["reason"] == "notFound")
        #expect(storage.call("GET", "/storage/v1/b/bkt/o/none?alt=media").text == "No such object: bkt/none")
        #expect(storage.call("GET", "/bkt/none").text.contains("<Code>NoSuchKey</Code>"))
        #expect(storage.call("GET", "/missing/none").text.contains("<Code>NoSuchBucket</Code>"))
    }

    @Test func anOverwrittenGenerationIsGone() throws {
        let storage = try CloudStorageHarness()
        let first = try storage.put("o", "one")
        let second = try storage.put("o", "two")
        #expect(first < second)
        #expect(storage.call("GET", "/bkt/o?generation=\(first)").status == 404)
        #expect(storage.blobCount == 1)
    }

    @Test func gzipIsUndoneForThoseWhoDoNotTakeIt() throws {
        let storage = try CloudStorageHarness()
        // "hello hello hello hello\n" as gzip(1) packs it.
        let packed: [UInt8] = [
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 200, 64, 39, 185, 0, 0, 136, 89, 11, 24, 0, 0,
            0,
        ]
        #expect(storage.call("PUT", "/bkt/o", ["Content-Encoding": "gzip"], body: packed).status == 200)
        let plain = storage.call("GET", "/bkt/o", ["Range": "bytes=0-3"])
        #expect(plain.status == 200)
        #expect(plain.text == "hello hello hello hello\n")
        #expect(plain.headers["Content-Encoding"] == nil)
        #expect(plain.headers["x-goog-stored-content-encoding"] == "gzip")
        let raw = storage.call("GET", "/bkt/o", ["Range": "bytes=0-1", "Accept-Encoding": "gzip"])
        #expect(raw.status == 206)
        #expect(raw.body == [0x1F, 0x8B])
    }

    @Test func metadataCannotEndAHeaderField() {
        let response = EmulatorResponse(200, headers: ["X": "a\r\nEvil: 1"])
        #expect(String(decoding: responseHead(response, closes: false), as: UTF8.self).contains("X: aEvil: 1\r\n"))
    }
}
