import Checksums
import LinuxPlatform
import TestSupport
import Testing

@testable import Emulators

/// `multipart/related` bodies, whose head and tail must not be taken for content wherever the pieces end.
@Suite struct MultipartBodyTests {
    private let boundary = "b0undary"

    private func body(resource: String, type: String = "a/b", _ content: [UInt8], tail: String = "\r\n") -> [UInt8] {
        Array("--\(boundary)\r\nContent-Type: application/json\r\n\r\n\(resource)\r\n".utf8)
            + Array("--\(boundary)\r\nContent-Type: \(type)\r\n\r\n".utf8) + content
            + Array("\r\n--\(boundary)--\(tail)".utf8)
    }

    /// A resource in so many bytes, that many blanks included.
    private func resource(_ name: String, padding: Int, _ members: String = "") -> String {
        #"{"name":"\#(name)"\#(members)"# + String(repeating: " ", count: padding) + "}"
    }

    private func upload(_ storage: CloudStorageHarness, _ bytes: [UInt8]) -> CloudStorageHarness.Reply {
        storage.call(
            "POST",
            "/upload/storage/v1/b/bkt/o?uploadType=multipart",
            ["Content-Type": "multipart/related; boundary=\(boundary)"],
            body: bytes
        )
    }

    private func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count)
    }

    /// Around the first 4 KiB, in which a head is looked for first, and around pieces of 256 KiB.
    @Test(arguments: [0, 1, 3900, 3970, 3971, 4096, 20_000, 300_001])
    func headsOfAnySizeAreTakenOff(padding: Int) throws {
        let storage = try CloudStorageHarness()
        for size in [0, 1, 2, 4095, RequestBody.pieceSize - 1, RequestBody.pieceSize, RequestBody.pieceSize + 1] {
            let content = bytes(size, seed: UInt64(size + padding))
            let digest = CRC32C.of(content).base64
            let reply = upload(
                storage,
                body(resource: resource("o", padding: padding, #","crc32c":"\#(digest)""#), content)
            )
            #expect(reply.status == 200)
            #expect(reply.json["crc32c"]?.text == digest)
            #expect(reply.json["size"]?.text == String(size))
            #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?alt=media").body == content)
        }
    }

    @Test(arguments: ["", "\r\n", "\n", "  \r\nan epilogue of some length\r\n"])
    func theEndMayBeFollowedByAnything(tail: String) throws {
        let storage = try CloudStorageHarness()
        let content = bytes(70_000, seed: 3)
        #expect(upload(storage, body(resource: resource("o", padding: 0), content, tail: tail)).status == 200)
        #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?alt=media").body == content)
    }

    @Test func contentMayLookLikeTheEnd() throws {
        let storage = try CloudStorageHarness()
        let content = Array("\r\n--\(boundary)--\r\nand more\r\n--\(boundary)\r\n".utf8)
        #expect(upload(storage, body(resource: resource("o", padding: 0), content)).status == 200)
        #expect(storage.call("GET", "/storage/v1/b/bkt/o/o?alt=media").body == content)
    }

    @Test func everyFlippedBitOfTheContentIsFound() throws {
        let storage = try CloudStorageHarness()
        let content = bytes(2 * RequestBody.pieceSize + 77, seed: 9)
        let head = resource("o", padding: 0, #","crc32c":"\#(CRC32C.of(content).base64)""#)
        let sent = body(resource: head, content)
        let start = sent.count - content.count - "\r\n--\(boundary)--\r\n".utf8.count
        #expect(upload(storage, sent).status == 200)
        for offset in [0, 1, RequestBody.pieceSize - 1, RequestBody.pieceSize, content.count - 1] {
            var flipped = sent
            flipped[start + offset] ^= 0x10
            #expect(upload(storage, flipped).status == 400)
        }
    }

    @Test func aBodyWithoutItsEndIsRefusedAndLeavesNothing() throws {
        let storage = try CloudStorageHarness()
        let whole = body(resource: resource("o", padding: 0), bytes(5000, seed: 1))
        for missing in [1 + "-\r\n".utf8.count, 40, 4900] {
            #expect(upload(storage, whole.dropLast(missing)).status == 400)
        }
        #expect(upload(storage, body(resource: resource("o", padding: StorageAPI.jsonLimit), [1])).status == 400)
        #expect(storage.names().isEmpty)
        #expect(storage.blobCount == 0)
    }

    @Test func whatWasGivenBackIsReadAgain() throws {
        let content = bytes(1000, seed: 4)
        let body = RequestBody(bytes: content)
        let first = try body.readSome(1000)
        #expect(Array(first) == content && body.isFinished)
        body.giveBack(first[300...])
        #expect(!body.isFinished)
        let second = try body.readSome(100)
        body.giveBack(second[50...])
        #expect(try body.readAll(limit: 650) == Array(content[350...]))
        #expect(body.receivedCount == 1000)
    }
}

extension MultipartBodyTests {
    private func upload(_ storage: CloudStorageHarness, _ bytes: ArraySlice<UInt8>) -> CloudStorageHarness.Reply {
        upload(storage, Array(bytes))
    }
}
