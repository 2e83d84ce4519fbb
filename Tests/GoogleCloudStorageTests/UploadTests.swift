import Checksums
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct ResumableTests {
    private static let chunk = 256 * 1024
    private let body = [UInt8](repeating: 3, count: chunk)
    private let location: ScriptedTransport.Step = .reply(
        200,
        [("Location", "http://127.0.0.1:9000/up?upload_id=SECRET")]
    )

    private func begun(
        _ steps: [ScriptedTransport.Step],
        size: Int? = nil,
        crc: CRC32C? = nil
    ) async throws -> (ScriptedClient, UploadSession) {
        let client = try ScriptedClient([location] + steps)
        let options = WriteOptions(.generation(Generation(4)), contentType: "text/plain", crc32c: crc)
        return (client, try await client.storage.beginUpload(objectName("a/b"), size: size, options))
    }

    @Test func theStartSaysEverything() async throws {
        let (client, session) = try await begun([], size: 20, crc: CRC32C(0xC994_65AA))
        let request = try #require(client.transport.requests.first)
        #expect(request.url.contains("uploadType=resumable&name=a%2Fb&ifGenerationMatch=4"))
        #expect(request.headers["x-upload-content-type"] == "text/plain")
        #expect(request.headers["x-upload-content-length"] == "20")
        let document = #"{"contentType":"text/plain","crc32c":"yZRlqg==","name":"a/b"}"#
        #expect(String(decoding: request.body?.copied() ?? [], as: UTF8.self) == document)
        #expect(session.secretURI.hasSuffix("upload_id=SECRET"))
        #expect(!"\(session)".contains("SECRET"))
    }

    @Test func a308MayHoldLess() async throws {
        let (client, session) = try await begun([.reply(308, [("Range", "bytes=0-99999")]), .reply(308)])
        let first = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        guard case .persisted(100_000) = first else {
            Issue.record("\(first)")
            return
        }
        let none = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        guard case .persisted(0) = none else {
            Issue.record("\(none)")
            return
        }
        #expect(client.transport.requests.last?.headers["content-range"] == "bytes 0-262143/*")
    }

    @Test func a308OfMoreThanWasSentIsAnError() async throws {
        let (client, session) = try await begun([.reply(308, [("Range", "bytes=0-262144")])])
        let error = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test func aLostFinalizeIsLearned() async throws {
        let (client, session) = try await begun([.failure(.connectionLost), .text(200, resource(body, name: "a/b"))])
        let error = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: true)
        }
        #expect(error?.code == .unavailable)
        guard case .finished(let written) = try await client.storage.uploadProgress(session) else {
            Issue.record("not finished")
            return
        }
        #expect(written.size == body.count)
        #expect(client.transport.requests.last?.headers["content-range"] == "bytes */*")
        #expect(client.transport.requests.last?.body?.count == 0)
    }

    @Test(arguments: [404, 410, 499])
    func lostSessionsAreTold(_ status: Int) async throws {
        let (client, session) = try await begun([.reply(status), .reply(status)])
        let chunk = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        }
        #expect(chunk?.code == .sessionLost)
        #expect(await storeError { _ = try await client.storage.uploadProgress(session) }?.code == .sessionLost)
    }

    /// The server's name for a request of a session is the secret in the session's URL.
    @Test(arguments: [403, 404, 410, 412, 503]) func errorsDoNotNameTheSession(status: Int) async throws {
        let named: HTTPHeaders = [("X-GUploader-UploadID", "SECRET")]
        let (client, session) = try await begun([.reply(status, named)])
        let chunk = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        }
        let told = try #require(chunk)
        #expect(!"\(told)".contains("SECRET") && told.requestID == nil)
        let refused = try ScriptedClient([.reply(status == 503 ? 403 : status, named)])
        let start = await storeError {
            _ = try await refused.storage.beginUpload(objectName(), size: 1, WriteOptions(.any))
        }
        #expect(start?.description.contains("SECRET") == false && start?.requestID == nil)
    }

    @Test func anOffsetGapIsNotRetried() async throws {
        let (client, session) = try await begun([.text(503, "Invalid Content-Range: gap")])
        let error = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 262_144, isLast: false)
        }
        #expect(error?.code == .unavailable && client.transport.requests.count == 2)
    }

    @Test func aWrongWholeIsDeleted() async throws {
        let (client, session) = try await begun(
            [.text(200, resource(body, name: "a/b")), .reply(204)],
            size: body.count,
            crc: CRC32C(1)
        )
        let error = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: true)
        }
        #expect(error?.code == .integrity && client.calls.last?.hasPrefix("DELETE") == true)
        #expect(client.transport.requests[1].headers["x-goog-hash"] == "crc32c=AAAAAQ==")
    }

    @Test func somebodyElsesFinalizeIsNotOurs() async throws {
        let (client, session) = try await begun([.text(200, resource([1], name: "a/b")), .reply(204)], size: 1_000_000)
        let error = await storeError {
            _ = try await client.storage.continueUpload(session, ByteSegments(body), at: 0, isLast: false)
        }
        #expect(error?.code == .integrity)
    }

    @Test func cancelAcceptsTheOddStatus() async throws {
        let (client, session) = try await begun([.reply(499)])
        try await client.storage.cancelUpload(session)
        #expect(client.transport.requests.last?.method == "DELETE")
    }

    @Test func sessionsElsewhereAreRefused() async throws {
        let elsewhere: ScriptedTransport.Step = .reply(200, [("Location", "http://evil.example/up?upload_id=SECRET")])
        let client = try ScriptedClient([elsewhere])
        let error = await storeError {
            _ = try await client.storage.beginUpload(objectName(), size: nil, WriteOptions(.absent))
        }
        #expect(error?.code == .protocolViolation && error?.description.contains("SECRET") == false)
        let stored = UploadSession(secretURI: "http://evil.example/up", name: try objectName())
        #expect(await storeError { _ = try await client.storage.uploadProgress(stored) }?.code == .protocolViolation)
        #expect(client.transport.requests.count == 1)
    }

    @Test func emulatorsMayNameAnotherHost() async throws {
        let elsewhere: ScriptedTransport.Step = .reply(200, [("Location", "http://container:4443/up?upload_id=1")])
        let client = try ScriptedClient([elsewhere], isEmulator: true)
        let session = try await client.storage.beginUpload(objectName(), size: nil, WriteOptions(.absent))
        #expect(session.secretURI == "http://127.0.0.1:9000/up?upload_id=1")
    }
}

@Suite struct MultipartTests {
    private let upload = MultipartUpload(name: objectNamed("dir a/b"), uploadID: "id/1")

    private static func objectNamed(_ text: String) -> ObjectName {
        guard let name = try? ObjectName(text) else { preconditionFailure("a plain name") }
        return name
    }

    private func client(_ steps: [ScriptedTransport.Step]) throws -> ScriptedClient { try ScriptedClient(steps) }

    @Test func aPartSendsAndComparesItsChecksum() async throws {
        let good = try client([.reply(200, [("ETag", "\"e\""), ("x-goog-hash", "crc32c=yZRlqg==")])])
        let body = ByteSegments(Array("hello world".utf8))
        let crc = CRC32C(0xC994_65AA)
        let part = try await good.storage.putPart(upload, number: 3, body, crc32c: crc)
        #expect(part == MultipartPart(number: 3, size: 11, etag: "\"e\""))
        let request = try #require(good.transport.requests.first)
        #expect(request.url == "http://127.0.0.1:9000/bkt/dir%20a/b?partNumber=3&uploadId=id%2F1")
        #expect(request.headers["x-goog-hash"] == "crc32c=yZRlqg==")
        let bad = try client([.reply(200, [("ETag", "\"e\""), ("x-goog-hash", "crc32c=AAAAAA==")])])
        let error = await storeError { _ = try await bad.storage.putPart(upload, number: 3, body, crc32c: crc) }
        #expect(error?.code == .integrity)
    }

    @Test func partsComeInPages() async throws {
        func page(_ number: Int, _ rest: String) -> ScriptedTransport.Step {
            .text(
                200,
                "<ListPartsResult>\(rest)<Part><PartNumber>\(number)</PartNumber><ETag>&quot;e&quot;</ETag><Size>5</Size>"
                    + "</Part></ListPartsResult>"
            )
        }
        let more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"
        let client = try client([page(1, more), page(2, "<IsTruncated>false</IsTruncated>")])
        let parts = try await client.storage.parts(upload)
        #expect(parts.map(\.number) == [1, 2] && parts[0].etag == "\"e\"")
        #expect(client.transport.requests.last?.url.contains("part-number-marker=1") == true)
    }

    @Test func anErrorIn200IsAnError() async throws {
        let client = try client([.text(200, "<Error><Code>InternalError</Code><Message>m</Message></Error>")])
        let part = MultipartPart(number: 1, size: 1, etag: "e")
        #expect(await storeError { _ = try await client.storage.completeMultipart(upload, [part]) } != nil)
    }

    @Test func aLostCompletionIsAdoptedByItsChecksum() async throws {
        let bytes = Array("hello world".utf8)
        let crc = CRC32C.of(bytes)
        for (found, isAdopted) in [(bytes, true), (Array("hello_world".utf8), false)] {
            let client = try client([
                .reply(200, [("ETag", "e")]), .failure(.connectionLost),
                .text(404, "<Error><Code>NoSuchUpload</Code></Error>"), .text(200, resource(found, name: "dir a/b")),
            ])
            let part = try await client.storage.putPart(upload, number: 1, ByteSegments(bytes), crc32c: crc)
            let error = await storeError { _ = try await client.storage.completeMultipart(upload, [part]) }
            #expect((error == nil) == isAdopted)
        }
    }

    @Test func uploadsAreFoundByPrefix() async throws {
        let text = """
            <ListMultipartUploadsResult><Upload><Key>p/a</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>q</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>
            """
        let client = try client([.text(200, text)])
        #expect(try await client.storage.multipartUploads(prefix: "p/").map(\.uploadID) == ["1"])
    }
}
