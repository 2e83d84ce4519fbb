import Checksums
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

struct UploadsTests {
    @Test("an upload goes on in another process, and skips what it has")
    func anotherProcess() async throws {
        let room = try LocalRoom()
        var random = SeededRandom(seed: 3)
        let bytes = random.bytes(3 * 262_144 + 5)
        let name = try room.name("x")
        let session = try await room.store().beginUpload(
            name,
            size: bytes.count,
            WriteOptions(.absent, crc32c: .of(bytes))
        )
        let first = ByteSegments(Array(bytes[..<524_288]))
        _ = try await room.store().continueUpload(session, first, at: 0, isLast: false)
        guard case .persisted(524_288) = try await room.store().uploadProgress(session) else {
            Issue.record("not all was kept")
            return
        }
        let gap = ByteSegments(Array(bytes[786_432...]))
        #expect(
            await failure {
                _ = try await room.store().continueUpload(session, gap, at: 786_432, isLast: true)
            } == .unavailable
        )
        // Bytes that are there already are not looked at again.
        let again = ByteSegments([UInt8](repeating: 0, count: 262_144) + bytes[524_288...])
        _ = try await room.store().continueUpload(session, again, at: 262_144, isLast: true)
        #expect(try await room.store().contents(name, generation: nil, limit: bytes.count).bytes == bytes)
    }

    @Test("an upload that gives other bytes than promised makes nothing, and is over")
    func wrongChecksum() async throws {
        let room = try LocalRoom()
        let store = try room.store()
        let session = try await store.beginUpload(try room.name("x"), size: 1, WriteOptions(.any, crc32c: .empty))
        #expect(
            await failure { _ = try await store.continueUpload(session, ByteSegments([1]), at: 0, isLast: true) }
                == .integrity
        )
        #expect(await failure { _ = try await store.uploadProgress(session) } == .sessionLost)
        #expect(try await room.names().isEmpty)
    }

    @Test(
        "an identifier that is none of ours is a lost session",
        arguments: ["", "..", "../temporary", String(repeating: "a", count: 32), "/etc"]
    )
    func foreignIdentifier(identifier: String) async throws {
        let room = try LocalRoom()
        let session = UploadSession(secretURI: identifier, name: try room.name("x"))
        #expect(await failure { _ = try await room.store().uploadProgress(session) } == .sessionLost)
        try await room.store().cancelUpload(session)
    }

    @Test("a part that was put again replaces the first, and a stale etag is refused")
    func replacedPart() async throws {
        let room = try LocalRoom()
        let store = try room.store()
        let upload = try await store.beginMultipart(try room.name("x"), WriteOptions(.any))
        let old = try await store.putPart(upload, number: 1, ByteSegments([1]), crc32c: .of([1]))
        let new = try await store.putPart(upload, number: 1, ByteSegments([2]), crc32c: .of([2]))
        #expect(try await store.parts(upload) == [new])
        #expect(await failure { _ = try await store.completeMultipart(upload, [old]) } == .invalidRequest)
        #expect(
            await failure { _ = try await store.putPart(upload, number: 2, ByteSegments([2]), crc32c: .empty) }
                == .integrity
        )
        #expect(await failure { _ = try await store.completeMultipart(upload, [new, new]) } == .invalidRequest)
        _ = try await store.completeMultipart(upload, [new])
        #expect(try await room.contents("x") == [2])
    }
}
