import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct WriteTests {
    @Test func aPutIsOneRequestWithItsChecksum() async throws {
        let client = try ScriptedClient([.text(200, resource(Array("hello world".utf8)))])
        let lease = BufferLease(size: 64)
        lease.bytes.copyBytes(from: Array("__hello world".utf8))
        let body = ByteSegments(lease, 2..<13)
        _ = try await client.storage.put(objectName(), body, WriteOptions(.absent, metadata: ["k": "v"]))
        let request = try #require(client.transport.requests.first)
        #expect(request.url.contains("/upload/storage/v1/b/bkt/o?uploadType=multipart&ifGenerationMatch=0"))
        let type = try #require(request.headers["content-type"])
        let boundary = try #require(type.split(separator: "=").last)
        let sent = String(decoding: try #require(request.body).copied(), as: UTF8.self)
        let json = #"{"contentType":"application/octet-stream","crc32c":"yZRlqg==","metadata":{"k":"v"},"name":"o"}"#
        #expect(
            sent == "--\(boundary)\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n\(json)\r\n--\(boundary)\r\n"
                + "Content-Type: application/octet-stream\r\n\r\nhello world\r\n--\(boundary)--\r\n"
        )
    }

    /// Public buckets are cached for an hour: a record that is replaced under its name must not be.
    @Test(arguments: [true, false]) func whatIsReplacedIsNotCached(mayBeCached: Bool) async throws {
        let client = try ScriptedClient([.text(200, resource([1]))])
        let options = WriteOptions(.absent, mayBeCached: mayBeCached)
        _ = try await client.storage.put(objectName(), ByteSegments([1]), options)
        let sent = String(decoding: client.transport.requests.first?.body?.copied() ?? [], as: UTF8.self)
        #expect(sent.contains(#""cacheControl":"no-store""#) == !mayBeCached)
    }

    @Test func theCallersBytesAreNotCopied() async throws {
        let client = try ScriptedClient([.text(200, resource([0, 0]))])
        let lease = BufferLease(size: 64)
        lease.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        _ = try await client.storage.put(objectName(), ByteSegments(lease, 0..<2), WriteOptions(.absent))
        let segments = try #require(client.transport.requests.first?.body).segments
        let isLent = segments.contains { segment in
            if case .lease(let held, let range) = segment { return held === lease && range == 0..<2 }
            return false
        }
        #expect(isLent)
    }

    @Test func aContentTypeCannotAddHeaders() async throws {
        let client = try ScriptedClient([.text(200, resource([1]))])
        let options = WriteOptions(.absent, contentType: "text/plain\r\nX-Evil: 1")
        _ = try await client.storage.put(objectName(), ByteSegments([1]), options)
        let body = try #require(client.transport.requests.first?.body).copied()
        #expect(!String(decoding: body, as: UTF8.self).contains("\r\nX-Evil"))
    }

    @Test func anotherChecksumIsDeletedAndThrown() async throws {
        let client = try ScriptedClient([.text(200, resource([1, 2], crc: CRC32C(1))), .reply(204)])
        let error = await storeError {
            _ = try await client.storage.put(objectName(), ByteSegments([1, 2]), WriteOptions(.absent))
        }
        #expect(error?.code == .integrity)
        #expect(client.calls.last == "DELETE \(object)")
        #expect(client.transport.requests.last?.url.contains("generation=7") == true)
    }

    @Test func anotherSizeIsDeletedAndThrown() async throws {
        let client = try ScriptedClient([.text(200, resource([1, 2, 3], crc: CRC32C.of([1, 2]))), .reply(204)])
        let error = await storeError {
            _ = try await client.storage.put(objectName(), ByteSegments([1, 2]), WriteOptions(.absent))
        }
        #expect(error?.code == .integrity && error?.message.contains("3 bytes instead of 2") == true)
    }

    @Test func aLostReplyOfACreationIsAdopted() async throws {
        let mine = resource([1, 2], metadata: ["penstock-operation": "x"])
        let client = try ScriptedClient([.failure(.connectionLost), .reply(412), .text(200, mine)])
        let options = WriteOptions(.absent, metadata: ["penstock-operation": "x"])
        let written = try await client.storage.put(objectName(), ByteSegments([1, 2]), options)
        #expect(written.generation == Generation(7))
    }

    @Test func anothersObjectIsNotAdopted() async throws {
        for found in [resource([3, 4]), resource([1, 2], metadata: ["penstock-operation": "y"])] {
            let client = try ScriptedClient([.failure(.connectionLost), .reply(412), .text(200, found)])
            let options = WriteOptions(.absent, metadata: ["penstock-operation": "x"])
            let error = await storeError {
                _ = try await client.storage.put(objectName(), ByteSegments([1, 2]), options)
            }
            #expect(error?.code == .preconditionFailed)
        }
    }

    @Test func a412WithoutAnAmbiguityIsBelieved() async throws {
        for first in [[], [ScriptedTransport.Step.reply(429)], [.failure(.connect)]] {
            let client = try ScriptedClient(first + [.reply(412), .text(200, resource([1, 2]))])
            let error = await storeError {
                _ = try await client.storage.put(objectName(), ByteSegments([1, 2]), WriteOptions(.absent))
            }
            #expect(error?.code == .preconditionFailed)
            #expect(client.transport.requests.count == first.count + 1)
        }
    }

    @Test func aComposeWithoutChecksumIsAdoptedByItsOperationOnly() async throws {
        for (metadata, isAdopted) in [(["penstock-operation": "x"], true), (["k": "v"], false)] {
            let found = resource([1, 2], metadata: metadata)
            let client = try ScriptedClient([.reply(503), .reply(412), .text(200, found)])
            let sources = [ComposeSource(try objectName("p"), Generation(1))]
            let error = await storeError {
                _ = try await client.storage.compose(
                    sources,
                    into: objectName(),
                    WriteOptions(.absent, metadata: metadata)
                )
            }
            #expect((error == nil) == isAdopted)
        }
    }

    @Test func composePinsItsSources() async throws {
        let client = try ScriptedClient([.text(200, resource([1, 2]))])
        let sources = [ComposeSource(try objectName("p/0"), Generation(17))]
        _ = try await client.storage.compose(
            sources,
            into: objectName(),
            WriteOptions(.generation(Generation(3)), crc32c: CRC32C.of([1, 2]))
        )
        let request = try #require(client.transport.requests.first)
        #expect(client.calls == ["POST \(object)/compose"] && request.url.contains("ifGenerationMatch=3"))
        let body = String(decoding: try #require(request.body).copied(), as: UTF8.self)
        let source = #"{"generation":"17","name":"p/0","objectPreconditions":{"ifGenerationMatch":"17"}}"#
        #expect(body.contains("\"sourceObjects\":[\(source)]"))
    }

    @Test func aComposedChecksumIsCompared() async throws {
        let client = try ScriptedClient([.text(200, resource([1, 2])), .reply(204)])
        let sources = [ComposeSource(try objectName("p"), Generation(1))]
        let error = await storeError {
            let options = WriteOptions(.absent, crc32c: CRC32C(5))
            _ = try await client.storage.compose(sources, into: objectName(), options)
        }
        #expect(error?.code == .integrity && client.calls.last == "DELETE \(object)")
    }

    @Test func deleteOfWhatIsGoneIsASuccess() async throws {
        let client = try ScriptedClient([.failure(.connectionLost), .reply(404)])
        try await client.storage.delete(objectName(), Generation(7))
        #expect(client.transport.requests.count == 2)
    }

    @Test func aPatchSetsAndRemoves() async throws {
        let client = try ScriptedClient([.text(200, resource([1], metageneration: 3, metadata: ["a": "1"]))])
        let changes: [String: String?] = ["a": "1", "b": nil]
        _ = try await client.storage.patch(objectName(), Generation(7), metageneration: 2, metadata: changes)
        let request = try #require(client.transport.requests.first)
        #expect(String(decoding: request.body?.copied() ?? [], as: UTF8.self) == #"{"metadata":{"a":"1","b":null}}"#)
        #expect(request.method == "PATCH" && request.url.contains("generation=7&ifMetagenerationMatch=2"))
    }

    @Test func aLostReplyOfAPatchIsAdopted() async throws {
        for (found, isAdopted) in [(3, true), (4, false)] {
            let reply = resource([1], metageneration: found, metadata: ["a": "1"])
            let client = try ScriptedClient([.reply(503), .reply(412), .text(200, reply)])
            let error = await storeError {
                _ = try await client.storage.patch(
                    objectName(),
                    Generation(7),
                    metageneration: 2,
                    metadata: ["a": "1"]
                )
            }
            #expect((error == nil) == isAdopted)
        }
    }
}

@Suite struct CopyTests {
    private let bytes: [UInt8] = [1, 2, 3]

    @Test func aRewriteGoesOnWithItsToken() async throws {
        let more = #"{"done":false,"objectSize":"3","totalBytesRewritten":"1","rewriteToken":"tok/1"}"#
        let done = "{\"done\":true,\"resource\":\(resource(bytes, name: "n", generation: 9))}"
        let client = try ScriptedClient([.text(200, resource(bytes)), .text(200, more), .reply(503), .text(200, done)])
        let copied = try await client.storage.copy(
            objectName(),
            Generation(7),
            to: objectName("n"),
            precondition: .absent,
            metadata: nil
        )
        #expect(copied.generation == Generation(9))
        let requests = client.transport.requests.dropFirst()
        #expect(requests.map { $0.url.contains("rewriteToken=tok%2F1") } == [false, true, true])
        #expect(requests.allSatisfy { $0.url.contains("sourceGeneration=7") })
        #expect(requests.allSatisfy { $0.body?.copied() == Array("{}".utf8) })
    }

    @Test func aRewriteThatStandsStillEnds() async throws {
        let original = resource(bytes)
        let transport = ScriptedTransport { _, index in
            index == 0
                ? .text(200, original) : .text(200, #"{"done":false,"totalBytesRewritten":"0","rewriteToken":"t"}"#)
        }
        let client = try ScriptedClient(transport)
        let error = await storeError {
            _ = try await client.storage.copy(
                objectName(),
                Generation(7),
                to: objectName("n"),
                precondition: .absent,
                metadata: nil
            )
        }
        #expect(error?.code == .unavailable)
    }

    @Test func newMetadataRepeatsTheContentType() async throws {
        let original = #"{"name":"o","generation":"7","size":"0","contentType":"text/plain","crc32c":"AAAAAA=="}"#
        let done = "{\"done\":true,\"resource\":\(resource([], name: "n"))}"
        let client = try ScriptedClient([.text(200, original), .text(200, done)])
        _ = try await client.storage.copy(
            objectName(),
            Generation(7),
            to: objectName("n"),
            precondition: .any,
            metadata: ["k": "v"]
        )
        let body = String(decoding: client.transport.requests.last?.body?.copied() ?? [], as: UTF8.self)
        #expect(body == #"{"contentType":"text/plain","metadata":{"k":"v"}}"#)
    }

    private func move(_ client: ScriptedClient) async throws -> ObjectAttributes {
        try await client.storage.move(objectName(), Generation(7), to: objectName("n"), precondition: .absent)
    }

    @Test func aMoveHasBothPreconditions() async throws {
        let client = try ScriptedClient([.text(200, resource(bytes)), .text(200, resource(bytes, name: "n"))])
        _ = try await move(client)
        let url = try #require(client.transport.requests.last?.url)
        #expect(url.contains("/o/o/moveTo/o/n?ifSourceGenerationMatch=7&ifGenerationMatch=0"))
    }

    @Test func aLostReplyOfAMoveIsAdopted() async throws {
        let client = try ScriptedClient([
            .text(200, resource(bytes)), .failure(.connectionLost), .reply(404),
            .text(200, resource(bytes, name: "n", generation: 9)),
        ])
        #expect(try await move(client).generation == Generation(9))
    }

    @Test func aServerWithoutMovesIsUnsupported() async throws {
        for status in [405, 501] {
            let client = try ScriptedClient([.text(200, resource(bytes)), .reply(status)])
            #expect(await storeError { _ = try await move(client) }?.code == .unsupported)
        }
        let unknown = try ScriptedClient([
            .text(200, resource(bytes)), .text(404, "404 page not found"), .text(200, resource(bytes)),
        ])
        #expect(await storeError { _ = try await move(unknown) }?.code == .unsupported)
    }

    @Test func aSourceThatIsGoneIsNotFound() async throws {
        let early = try ScriptedClient([.reply(404)])
        #expect(await storeError { _ = try await move(early) }?.code == .notFound)
        let late = try ScriptedClient([.text(200, resource(bytes)), .reply(404), .reply(404)])
        #expect(await storeError { _ = try await move(late) }?.code == .notFound)
    }
}
