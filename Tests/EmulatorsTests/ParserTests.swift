import Checksums
import TestSupport
import Testing

@testable import Emulators

/// Everything that reads bytes of a client: what it must understand, and that nothing brings it down.
@Suite struct ParserTests {
    @Test func jsonRoundTrips() throws {
        let text = #"{"a":[1,-2,1.5e3,true,false,null,"x\"\\\né\u00e9\ud83d\ude00"],"b":{}}"#
        let value = try #require(JSONValue(parsing: Array(text.utf8)))
        #expect(value["a"]?.elements?.last == "x\"\\\néé😀")
        #expect(JSONValue(parsing: value.serialized) == value)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":}", "01", "1.", "\"\u{1}\"", "\"\\ud800\"", "\"\\x\"", "nul", "1 2", "{\"a\" 1}", "+1",
        "-",
    ]) func malformedJSON(text: String) {
        #expect(JSONValue(parsing: Array(text.utf8)) == nil)
    }

    @Test func deepJSONIsRefused() {
        let text = String(repeating: "[", count: 100_000)
        #expect(JSONValue(parsing: Array(text.utf8)) == nil)
    }

    @Test func headsHaveSegmentsAndQuery() throws {
        let head = try RequestHead(
            parsing: Array("GET http://h:1/b/a%2Fb//c?x=1+2&y&z=%26 HTTP/1.1\r\nA: b \r\na:c\r\n\r\n".utf8)[...]
        )
        #expect(head.target.segments == ["b", "a/b", "", "c"])
        #expect(head.target.query.map(\.value) == ["1 2", "", "&"])
        #expect(head.headers.all("A") == ["b", "c"])
        #expect(head.keepsAlive)
    }

    /// Mutates valid inputs, so that parsers get past their first byte.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func nothingBringsAParserDown(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let valid = [
            "PUT /b/o?x=%41 HTTP/1.1\r\nContent-Length: 5\r\nRange: bytes=1-2\r\n\r\n",
            #"{"a":[1,{"b":"\u00e9"}],"c":1e5}"#,
            "bytes 0-5/10", "bytes=1-5", "items(a/b,c),d", "{a,b}[c-d]**?", "YWJjZA==",
            "--x\r\nContent-Type: a/b\r\n\r\n{\"name\":\"o\"}\r\n--x\r\nA: b\r\n\r\nhello\r\n--x--\r\n",
            "--x\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b/bkt/o/o HTTP/1.1\r\n\r\n\r\n--x--\r\n",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
        ].map { Array($0.utf8) }
        let storage = try CloudStorageHarness()
        for _ in 0..<400 {
            var bytes = valid.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[index...].prefix(20), at: index)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            _ = try? RequestHead(parsing: bytes[...])
            _ = JSONValue(parsing: bytes)
            _ = try? UploadRange(text)
            _ = requestedRange(text, size: 10)
            _ = try? FieldMask(text)
            _ = GlobPattern(text)?.matches(Array("abc".utf8))
            _ = Base64.decode(text)
            _ = gunzipped([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0] + bytes)
            let type: HeaderFields = ["Content-Type": "multipart/related; boundary=x"]
            storage.call("POST", "/upload/storage/v1/b/bkt/o?uploadType=multipart", type, body: bytes)
            storage.call("POST", "/batch/storage/v1", type, body: bytes)
            storage.call("POST", "/bkt/o?uploadId=none", type, body: bytes)
        }
    }

    @Test func batchesAnswerEachCall() throws {
        let storage = try CloudStorageHarness()
        try storage.put("a")
        let body =
            "--x\r\nContent-Type: application/http\r\nContent-ID: <b+1>\r\n\r\n"
            + "DELETE /storage/v1/b/bkt/o/a HTTP/1.1\r\n\r\n\r\n"
            + "--x\r\nContent-Type: application/http\r\nContent-ID: <b+2>\r\n\r\n"
            + "PATCH /storage/v1/b/bkt/o/none HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n"
            + "--x--"
        let reply = storage.call(
            "POST",
            "/batch/storage/v1",
            ["Content-Type": "multipart/mixed; boundary=x"],
            body: body
        )
        #expect(reply.text.contains("Content-ID: <response-b+1>\r\n\r\nHTTP/1.1 204 No Content"))
        #expect(reply.text.contains("Content-ID: <response-b+2>\r\n\r\nHTTP/1.1 404 Not Found"))
        #expect(storage.names().isEmpty)
    }
}
