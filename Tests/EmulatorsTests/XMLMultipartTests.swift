import Checksums
import Testing

@testable import Emulators

/// Multipart uploads of the XML API.
@Suite struct XMLMultipartTests {
    private static let minimum = 5 << 20
    private let storage: CloudStorageHarness

    init() throws { storage = try CloudStorageHarness() }

    private func element(_ name: String, in xml: String) -> String? {
        let parts = xml.split(separator: "<\(name)>", maxSplits: 1)
        return parts.count == 2 ? parts[1].split(separator: "<", maxSplits: 1).first.map(String.init) : nil
    }

    private func initiate(_ name: String) throws -> String {
        let reply = storage.call("POST", "/bkt/\(name)?uploads", ["Content-Type": "a/b", "x-goog-meta-k": "v"])
        return try #require(element("UploadId", in: reply.text))
    }

    private func put(_ name: String, _ id: String, _ number: Int, _ body: [UInt8]) -> String {
        storage.call("PUT", "/bkt/\(name)?partNumber=\(number)&uploadId=\(id)", body: body).headers["ETag"] ?? ""
    }

    private func complete(_ name: String, _ id: String, _ parts: [(Int, String)], _ headers: HeaderFields = [:])
        -> CloudStorageHarness.Reply
    {
        let list = parts.map { "<Part><PartNumber>\($0.0)</PartNumber><ETag>\(xmlEscaped($0.1))</ETag></Part>" }
        let body = "<CompleteMultipartUpload>\(list.joined())</CompleteMultipartUpload>"
        return storage.call("POST", "/bkt/\(name)?uploadId=\(id)", headers, body: body)
    }

    @Test func partsBecomeOneObject() throws {
        let id = try initiate("dir/o")
        let first = [UInt8](repeating: 1, count: Self.minimum)
        let last: [UInt8] = [2, 3]
        _ = put("dir/o", id, 7, [9])
        let etags = [(2, put("dir/o", id, 2, first)), (7, put("dir/o", id, 7, last))]
        #expect(storage.names().isEmpty)
        let done = complete("dir/o", id, etags)
        #expect(done.status == 200)
        #expect(done.headers["x-goog-hash"] == "crc32c=\(CRC32C.of(first + last).base64)")
        let object = storage.call("GET", "/storage/v1/b/bkt/o/dir%2Fo").json
        #expect(object["md5Hash"] == nil)
        #expect(object["contentType"] == "a/b")
        #expect(object["metadata"] == ["k": "v"])
        #expect(storage.call("GET", "/bkt/dir/o").body == first + last)
        #expect(storage.blobCount == 2)
        #expect(complete("dir/o", id, etags).text.contains("NoSuchUpload"))
    }

    @Test func wrongDigestsAreRefused() throws {
        let id = try initiate("o")
        let target = "/bkt/o?partNumber=1&uploadId=\(id)"
        let headers: [HeaderFields] = [
            ["x-goog-hash": "crc32c=AAAAAA=="], ["Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="],
        ]
        for header in headers {
            let reply = storage.call("PUT", target, header, body: "x")
            #expect(reply.status == 400)
            #expect(reply.text.contains("<Code>BadDigest</Code>"))
        }
        #expect(storage.blobCount == 0)
    }

    @Test func completionsThatAreRefused() throws {
        let id = try initiate("o")
        let small = put("o", id, 1, [1])
        let other = put("o", id, 2, [2])
        #expect(complete("o", id, [(2, other), (1, small)]).text.contains("InvalidPartOrder"))
        #expect(complete("o", id, [(1, "\"wrong\"")]).text.contains("InvalidPart"))
        #expect(complete("o", id, [(3, small)]).text.contains("InvalidPart"))
        #expect(complete("o", id, [(1, small), (2, other)]).text.contains("EntityTooSmall"))
        #expect(complete("o", id, [(1, small)], ["x-goog-if-generation-match": "5"]).status == 412)
        #expect(storage.call("POST", "/bkt/o?uploadId=\(id)", body: "<Nonsense/>").status == 400)
        #expect(storage.call("PUT", "/bkt/o?partNumber=10001&uploadId=\(id)").status == 400)
        #expect(storage.call("PUT", "/bkt/other?partNumber=1&uploadId=\(id)").status == 404)
        #expect(complete("o", id, [(1, small)]).status == 200)
    }

    @Test func listsHavePages() throws {
        let id = try initiate("o")
        for number in [3, 5, 8] { _ = put("o", id, number, [1]) }
        let first = storage.call("GET", "/bkt/o?uploadId=\(id)&max-parts=2").text
        #expect(first.contains("<IsTruncated>true</IsTruncated>"))
        #expect(element("NextPartNumberMarker", in: first) == "5")
        let second = storage.call("GET", "/bkt/o?uploadId=\(id)&max-parts=2&part-number-marker=5").text
        #expect(second.contains("<PartNumber>8</PartNumber>"))
        #expect(second.contains("<IsTruncated>false</IsTruncated>"))
        _ = try initiate("p")
        let uploads = storage.call("GET", "/bkt?uploads&max-uploads=1").text
        #expect(element("NextKeyMarker", in: uploads) == "o")
        #expect(storage.call("GET", "/bkt?uploads&key-marker=o").text.contains("<Key>p</Key>"))
        #expect(storage.call("GET", "/bkt?uploads&prefix=p").text.contains("<Key>o</Key>") == false)
    }

    @Test func anAbortedUploadLeavesNothing() throws {
        let id = try initiate("o")
        _ = put("o", id, 1, [1])
        #expect(storage.call("DELETE", "/bkt/o?uploadId=\(id)").status == 204)
        #expect(storage.call("DELETE", "/bkt/o?uploadId=\(id)").status == 404)
        #expect(storage.blobCount == 0)
    }

    @Test func aRestartKeepsParts() throws {
        let id = try initiate("o")
        let etag = put("o", id, 1, [1, 2, 3])
        let again = try CloudStorageHarness(root: storage.root)
        let body =
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\(etag)</ETag></Part>"
            + "</CompleteMultipartUpload>"
        #expect(again.call("POST", "/bkt/o?uploadId=\(id)", body: body).status == 200)
        #expect(again.call("GET", "/bkt/o").body == [1, 2, 3])
    }
}
