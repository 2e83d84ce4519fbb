import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct ErrorReplyTests {
    private func reply(_ status: Int, _ body: String) -> ErrorReply {
        ErrorReply(status: status, body: Array(body.utf8))
    }

    @Test func jsonGivesReasonAndText() {
        let body = #"{"error":{"code":404,"message":"No such object: b/o","errors":[{"reason":"notFound"}]}}"#
        let reply = reply(404, body)
        #expect(reply.reason == "notFound" && reply.text == "No such object: b/o" && reply.code == .notFound)
    }

    @Test func oddJSONStillGivesTheStatus() {
        let reply = reply(503, #"{"error":{"code":"503","message":{"a":1},"errors":"none"}}"#)
        #expect(reply.code == .unavailable && reply.reason == nil)
    }

    @Test func plainTextIsShownOnOneLine() {
        #expect(reply(404, "No such object:\n\u{1}b/o").text == "No such object: b/o")
    }

    @Test func xmlGivesCodeAndMessage() {
        let body = "<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>"
        #expect(reply(404, body).code == .containerNotFound)
        #expect(reply(404, body).text == "gone")
    }

    @Test func someForbiddensAreThrottles() {
        let body = #"{"error":{"code":403,"message":"slow","errors":[{"reason":"userRateLimitExceeded"}]}}"#
        #expect(reply(403, body).code == .rateLimited)
        #expect(reply(403, "{}").code == .forbidden)
        #expect(reply(429, "").isThrottle)
    }

    @Test func checksumRefusalsAreIntegrity() {
        #expect(reply(400, "Provided CRC32C \"x\" doesn't match calculated CRC32C \"y\"").code == .integrity)
        #expect(reply(400, "<Error><Code>BadDigest</Code></Error>").code == .integrity)
        #expect(reply(400, "bad name").code == .invalidRequest)
    }

    @Test func longTextIsCut() {
        #expect(reply(500, String(repeating: "x", count: 5000)).text.count == 300)
    }

    @Test func nothingMakesItTrap() {
        var random = SeededRandom(seed: 73)
        let seeds = [
            #"{"error":{"code":404,"message":"m","errors":[{"reason":"notFound"}]}}"#,
            "<Error><Code>NoSuchKey</Code><Message>&lt;x&gt;</Message></Error>",
        ]
        for round in 0..<2000 {
            var bytes = Array(seeds[round % 2].utf8)
            for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(random.next() & 0xFF) }
            _ = ErrorReply(status: 404, body: Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))).code
        }
    }
}

@Suite struct ObjectResourceTests {
    private func attributes(_ json: String) throws -> ObjectAttributes {
        let head = HTTPResponseHead(status: 200, headers: [])
        return try ObjectResource.attributes(in: HTTPResponse(head: head, body: Array(json.utf8)), "gs://b/o")
    }

    @Test func numbersAreStringsOrNumbers() throws {
        let strings = try attributes(#"{"name":"o","generation":"17","metageneration":"2","size":"5497558138880"}"#)
        let numbers = try attributes(#"{"name":"o","generation":17,"metageneration":2,"size":5497558138880}"#)
        #expect(strings == numbers)
        #expect(strings.size == 5_497_558_138_880 && strings.generation == Generation(17))
    }

    @Test func everythingElseIsOptional() throws {
        let json = """
            {"name":"o","generation":"1","size":"0","crc32c":"AAAAAA==","timeCreated":"2026-01-02T03:04:05.6Z",\
            "metadata":{"k":"v"},"contentEncoding":"","unknown":[{}]}
            """
        let found = try attributes(json)
        #expect(found.crc32c == .empty && found.metadata == ["k": "v"] && found.contentEncoding == nil)
        #expect(found.created?.description == "2026-01-02T03:04:05.600Z")
    }

    @Test(
        arguments: [
            "[]", "{", #"{"name":"o"}"#, #"{"name":"o","generation":"x","size":"1"}"#,
            #"{"name":"o","generation":"1","size":"-1"}"#, #"{"name":"o","generation":"1","size":"1","crc32c":"no"}"#,
            #"{"name":"o","generation":"99999999999999999999","size":"1"}"#,
        ]
    )
    func nonsenseIsAProtocolViolation(_ json: String) {
        #expect(throws: ObjectStoreError.self) { try attributes(json) }
    }
}

@Suite struct XMLElementTests {
    private func parse(_ text: String) -> XMLElement? { XMLElement.parse(Array(text.utf8)) }

    @Test func elementsNestAndHaveText() throws {
        let root = try #require(
            parse(
                """
                <?xml version="1.0" encoding="UTF-8"?>
                <!-- a comment --><s:List xmlns:s="http://x/>y"><Part a='b>c'><N>1</N></Part><Part><N> 2</N></Part><E/></s:List>
                """
            )
        )
        #expect(root.name == "List")
        #expect(root.all("Part").map { $0["N"] } == ["1", " 2"])
        #expect(root["E"] == "")
    }

    @Test func referencesAndSectionsAreText() {
        #expect(parse("<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;<![CDATA[<&]]></a>")?.text == "<&>\"'AB<&")
    }

    @Test(
        arguments: [
            "", "<a>", "<a></b>", "<a/><b/>", "x<a/>", "<a>&unknown;</a>", "<a>&#xD800;</a>", "<!DOCTYPE a><a/>",
            "<a b=\"></a>", "<a><!-- </a>", "<1></2>", "<a>&lt</a>", "<a/", "</a>",
        ]
    )
    func nonsenseIsNothing(_ text: String) { #expect(parse(text) == nil) }

    @Test func depthIsBounded() {
        let deep = String(repeating: "<a>", count: 17) + String(repeating: "</a>", count: 17)
        #expect(parse(deep) == nil)
    }

    @Test func nothingMakesItTrap() {
        var random = SeededRandom(seed: 74)
        let seed = Array("<?xml?><L x='y'><P><N>1</N><E>&quot;e&quot;</E></P><![CDATA[z]]><!-- c --></L>".utf8)
        for _ in 0..<3000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch random.next() % 3 {
                case 0: bytes[index] = UInt8(random.next() & 0xFF)
                case 1: bytes.remove(at: index)
                default: bytes.insert(seed[Int.random(in: 0..<seed.count, using: &random)], at: index)
                }
            }
            _ = XMLElement.parse(bytes)
        }
    }
}

@Suite struct MediaReplyTests {
    private let expected = MediaReply(
        range: ByteRange(offset: 10, count: 5),
        isRanged: true,
        size: 100,
        generation: Generation(7),
        contentEncoding: nil,
        subject: "gs://b/o"
    )

    private func accepts(_ status: Int, _ headers: HTTPHeaders, _ reply: MediaReply? = nil) -> Bool {
        guard case .success = (reply ?? expected).check(HTTPResponseHead(status: status, headers: headers)) else {
            return false
        }
        return true
    }

    @Test func theRightPartIsAccepted() {
        #expect(accepts(206, [("x-goog-generation", "7"), ("Content-Range", "bytes 10-14/100")]))
        #expect(
            accepts(206, [("x-goog-generation", "7"), ("content-range", "bytes 10-14/*"), ("Content-Length", "5")])
        )
    }

    @Test(
        arguments: [
            "bytes 11-15/100", "bytes 10-15/100", "bytes 10-13/100", "bytes 10-14/101", "bytes 10-14", "10-14/100",
            "bytes 10-14/100/1", "bytes -10--14/100", "bytes 10-14/9", "",
        ]
    )
    func otherPartsAreNot(_ range: String) {
        #expect(!accepts(206, [("x-goog-generation", "7"), ("Content-Range", range)]))
    }

    @Test func otherRepliesAreNot() {
        let range = ("Content-Range", "bytes 10-14/100")
        #expect(!accepts(206, [("x-goog-generation", "8"), range]))
        #expect(!accepts(206, [range]))
        #expect(!accepts(206, [("x-goog-generation", "7")]))
        #expect(!accepts(206, [("x-goog-generation", "7"), range, ("Content-Length", "6")]))
        #expect(!accepts(206, [("x-goog-generation", "7"), range, ("x-goog-stored-content-length", "99")]))
        #expect(!accepts(200, [("x-goog-generation", "7"), ("Content-Length", "100")]))
        #expect(!accepts(204, [("x-goog-generation", "7")]))
    }

    @Test func aWholeObjectMayComeWith200() {
        var whole = expected
        whole.range = ByteRange(offset: 0, count: 100)
        #expect(accepts(200, [("x-goog-generation", "7"), ("Content-Length", "100")], whole))
        #expect(!accepts(200, [("x-goog-generation", "7"), ("Content-Length", "99")], whole))
    }

    @Test func storedEncodingsAreKept() {
        let range = ("Content-Range", "bytes 10-14/100")
        let stored = ("x-goog-stored-content-encoding", "gzip")
        #expect(accepts(206, [("x-goog-generation", "7"), range, stored, ("Content-Encoding", "gzip")]))
        #expect(accepts(206, [("x-goog-generation", "7"), range, ("x-goog-stored-content-encoding", "identity")]))
        // Decompressed on the way.
        #expect(!accepts(206, [("x-goog-generation", "7"), range, stored]))
        let gunzipped = ("x-guploader-response-body-transformations", "gunzipped")
        #expect(!accepts(206, [("x-goog-generation", "7"), range, gunzipped]))
        // Compressed on the way.
        #expect(!accepts(206, [("x-goog-generation", "7"), range, ("Content-Encoding", "gzip")]))
    }

    @Test func hashesAreOneHeaderOrSeveral() {
        #expect(
            HashHeader.crc32c([("x-goog-hash", "crc32c=yZRlqg==,md5=XrY7u+Ae7tCTyyK7j1rNww==")])?.value == 0xC994_65AA
        )
        #expect(HashHeader.crc32c([("X-Goog-Hash", "md5=a=="), ("x-goog-hash", "crc32c=AAAAAA==")]) == .empty)
        #expect(HashHeader.crc32c([("x-goog-hash", "None")]) == nil)
        #expect(HashHeader.crc32c([("x-goog-hash", "crc32c=zzz")]) == nil)
    }
}

@Suite struct UploadRangeTests {
    @Test func chunksAreNamed() {
        #expect(UploadRange.header(offset: 0, count: 8_388_608, isLast: false) == "bytes 0-8388607/*")
        #expect(UploadRange.header(offset: 16, count: 4, isLast: true) == "bytes 16-19/20")
        #expect(UploadRange.header(offset: 20, count: 0, isLast: true) == "bytes */20")
        #expect(UploadRange.header(offset: 0, count: 0, isLast: true) == "bytes */0")
    }

    @Test func storedBytesAreRead() {
        #expect(UploadRange.persisted(nil) == 0)
        #expect(UploadRange.persisted("bytes=0-262143") == 262_144)
        for text in ["bytes=1-5", "bytes 0-5", "bytes=0--5", "bytes=0-9223372036854775807", "bytes=0-", "0-5"] {
            #expect(UploadRange.persisted(text) == nil)
        }
    }
}
