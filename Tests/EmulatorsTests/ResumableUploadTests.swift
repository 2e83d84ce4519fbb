import Testing

@testable import Emulators

/// The exchange of a resumable upload, step by step.
@Suite struct ResumableUploadTests {
    private static let unit = 256 << 10
    private let storage: CloudStorageHarness

    init() throws { storage = try CloudStorageHarness() }

    private func put(_ session: String, _ range: String?, _ body: [UInt8] = [], faults: ProtocolFaults = .init())
        -> CloudStorageHarness.Reply
    {
        storage.call("PUT", session, range.map { ["Content-Range": $0] } ?? [:], body: body, faults: faults)
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) } }

    @Test func nothingPersistedHasNoRange() throws {
        let session = try storage.startSession("o")
        let status = put(session, "bytes */*")
        #expect(status.status == 308)
        #expect(status.headers["Range"] == nil)
        #expect(storage.names().isEmpty)
    }

    @Test func chunksOfUnknownTotalThenTheLast() throws {
        let session = try storage.startSession("o")
        let content = bytes(Self.unit + 5)
        let first = put(session, "bytes 0-262143/*", Array(content[..<Self.unit]))
        #expect(first.headers["Range"] == "bytes=0-262143")
        let last = put(session, "bytes 262144-262148/262149", Array(content[Self.unit...]))
        #expect(last.status == 200)
        #expect(last.json["size"] == "262149")
        #expect(storage.call("GET", "/bkt/o").body == content)
        // A lost reply is asked for again.
        #expect(put(session, "bytes */*").json == last.json)
    }

    @Test func aGapIsRefusedAsTextAndLosesNothing() throws {
        let session = try storage.startSession("o")
        _ = put(session, "bytes 0-262143/*", bytes(Self.unit))
        let gap = put(session, "bytes 524288-786431/*", bytes(Self.unit))
        #expect(gap.status == 503)
        #expect(gap.headers["Content-Type"]?.hasPrefix("text/plain") == true)
        #expect(gap.text.contains("Content-Range"))
        #expect(put(session, "bytes */*").headers["Range"] == "bytes=0-262143")
    }

    @Test func whatIsPersistedIsSkippedWithoutALook() throws {
        let session = try storage.startSession("o")
        let content = bytes(2 * Self.unit)
        _ = put(session, "bytes 0-262143/*", Array(content[..<Self.unit]))
        let wrong = [UInt8](repeating: 0xEE, count: Self.unit) + content[Self.unit...]
        #expect(put(session, "bytes 0-524287/524288", wrong).status == 200)
        #expect(storage.call("GET", "/bkt/o").body == content)
    }

    @Test(arguments: ["bytes 0-99/*", "bytes 0-99/1000", "bytes 5-2/*", "bytes 0-9/5", "bytes 0-50/*", "octets 0-9/10"])
    func malformedChunksAreRefused(range: String) throws {
        let session = try storage.startSession("o")
        #expect(put(session, range, bytes(100)).status == 400)
        #expect(put(session, "bytes */*").status == 308)
    }

    @Test func aTotalOtherThanDeclaredIsRefused() throws {
        let session = try storage.startSession("o", ["X-Upload-Content-Length": "10"])
        #expect(put(session, "bytes 0-8/9", bytes(9)).status == 400)
        #expect(put(session, "bytes 0-9/10", bytes(10)).status == 200)
        let other = try storage.startSession("p", ["X-Upload-Content-Length": "10"])
        #expect(put(other, nil, bytes(9)).status == 400)
        #expect(storage.names() == ["o"])
    }

    @Test func emptyObjectsAndOneShots() throws {
        #expect(put(try storage.startSession("empty"), "bytes */0").status == 200)
        #expect(put(try storage.startSession("whole"), nil, bytes(7)).json["size"] == "7")
        let session = try storage.startSession("exact")
        _ = put(session, "bytes 0-262143/*", bytes(Self.unit))
        #expect(put(session, "bytes */262145").status == 308)
        #expect(put(session, "bytes */262144").status == 200)
    }

    @Test(arguments: ["x-goog-hash", "start"]) func aWrongChecksumMakesNoObject(place: String) throws {
        let isStart = place == "start"
        let session = try storage.startSession("o", body: isStart ? #"{"crc32c":"AAAAAA=="}"# : "{}")
        let headers: HeaderFields = ["Content-Range": "bytes 0-4/5"]
        var given = headers
        if !isStart { given["x-goog-hash"] = "crc32c=AAAAAA==" }
        #expect(storage.call("PUT", session, given, body: "hello").status == 400)
        #expect(storage.names().isEmpty)
        #expect(put(session, "bytes */*").status == 404)
        #expect(storage.blobCount == 0)
    }

    @Test func conditionsHoldAtTheStartAndAtTheEnd() throws {
        try storage.put("o")
        let early = storage.call(
            "POST",
            "/upload/storage/v1/b/bkt/o?uploadType=resumable&name=o&ifGenerationMatch=0"
        )
        #expect(early.status == 412)
        let session = try storage.startSession("late", query: "&ifGenerationMatch=0")
        try storage.put("late", "other")
        #expect(put(session, nil, bytes(3)).status == 412)
        #expect(storage.content("late") == "other")
    }

    @Test func cancelled() throws {
        let session = try storage.startSession("o")
        _ = put(session, "bytes 0-262143/*", bytes(Self.unit))
        #expect(storage.call("DELETE", session).status == 499)
        #expect(put(session, "bytes */*").status == 404)
        #expect(storage.blobCount == 0)
        #expect(put("/upload/storage/v1/b/bkt/o?upload_id=unknown", "bytes */*").status == 404)
    }

    @Test(arguments: [404, 410]) func expired(status: Int) throws {
        var faults = ProtocolFaults()
        faults.expiresSession = HTTPStatus(status)
        let session = try storage.startSession("o")
        #expect(put(session, nil, bytes(3), faults: faults).status == status)
        #expect(put(session, "bytes */*").status == status)
    }

    @Test func aShortAcknowledgementPersistsLess() throws {
        var faults = ProtocolFaults()
        faults.acknowledgeAtMost = Self.unit + 1
        let session = try storage.startSession("o")
        let content = bytes(2 * Self.unit)
        let short = put(session, "bytes 0-524287/524288", content, faults: faults)
        #expect(short.status == 308)
        #expect(short.headers["Range"] == "bytes=0-262143")
        #expect(put(session, "bytes 262144-524287/524288", Array(content[Self.unit...])).status == 200)
        #expect(storage.call("GET", "/bkt/o").body == content)
    }

    @Test func clientsThatCannotTake308() throws {
        let session = try storage.startSession("o")
        let reply = storage.call("PUT", session, ["Content-Range": "bytes */*", "X-GUploader-No-308": "yes"])
        #expect(reply.status == 200)
        #expect(reply.headers["X-HTTP-Status-Code-Override"] == "308")
    }

    @Test func metadataOfTheStartIsRemembered() throws {
        let session = try storage.startSession(
            "o",
            ["X-Upload-Content-Type": "text/x-test"],
            body: #"{"metadata":{"k":"v"}}"#
        )
        let object = put(session, nil, bytes(3)).json
        #expect(object["contentType"] == "text/x-test")
        #expect(object["metadata"] == ["k": "v"])
    }

    @Test func aLostConnectionKeepsWholeUnits() throws {
        let root = storage.root
        let emulator = try CloudStorageEmulator(configuration(root + "-live"))
        defer { emulator.stop() }
        let start = try RawClient.exchange(
            emulator.port,
            "POST /upload/storage/v1/b/bkt/o?uploadType=resumable&name=o HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
        )
        let line = try #require(start.split(separator: "\r\n").first { $0.hasPrefix("Location: http://h") })
        let session = line.dropFirst("Location: http://h".count)
        let content = bytes(2 * Self.unit + 1000)
        // Fewer bytes than promised, and then nothing.
        let broken = "PUT \(session) HTTP/1.1\r\nHost: h\r\nContent-Length: \(4 * Self.unit)\r\n\r\n"
        // Answered by the end of the connection, orderly or not.
        let answer = try? RawClient.exchange(emulator.port, broken, body: content)
        #expect(answer?.isEmpty ?? true)
        let query = "PUT \(session) HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Range: bytes */*\r\n\r\n"
        let status = try RawClient.exchange(emulator.port, query)
        #expect(status.contains("Range: bytes=0-524287\r\n"))
    }

    @Test func aRestartKeepsASession() throws {
        let session = try storage.startSession("o", query: "&ifGenerationMatch=0", body: #"{"metadata":{"k":"v"}}"#)
        let content = bytes(Self.unit + 9)
        _ = put(session, "bytes 0-262143/*", Array(content[..<Self.unit]))
        let again = try CloudStorageHarness(root: storage.root)
        let reply = again.call(
            "PUT",
            session,
            ["Content-Range": "bytes 262144-262152/262153"],
            body: Array(content[Self.unit...])
        )
        #expect(reply.json["metadata"] == ["k": "v"])
        #expect(again.call("GET", "/bkt/o").body == content)
    }

    private func configuration(_ root: String) -> CloudStorageEmulator.Configuration {
        var configuration = CloudStorageEmulator.Configuration(root: root)
        configuration.buckets = ["bkt"]
        return configuration
    }
}
