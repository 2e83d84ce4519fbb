import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

/// The scenarios of the official clients' conformance tests, on a scripted server.
@Suite struct RetryConformanceTests {
    typealias Step = ScriptedTransport.Step

    static let transient: [[Step]] = [
        [.reply(503), .reply(503)], [.failure(.connectionLost), .failure(.connectionLost)],
        [.failure(.connectionLost), .reply(503)],
    ]

    @Test(arguments: transient)
    func scenario1IdempotentReadsAreRetried(_ faults: [Step]) async throws {
        let client = try ScriptedClient(faults + [.text(200, resource([1]))])
        #expect(try await client.storage.attributes(objectName(), generation: nil).size == 1)
        #expect(client.transport.requests.count == 3)
    }

    @Test(arguments: transient)
    func scenario1ListsAreRetried(_ faults: [Step]) async throws {
        let client = try ScriptedClient(faults + [.text(200, "{}")])
        #expect(try await client.storage.list(ListRequest(prefix: "")).objects.isEmpty)
    }

    @Test(arguments: transient)
    func scenario2WritesWithPreconditionAreRetried(_ faults: [Step]) async throws {
        let client = try ScriptedClient(faults + [.text(200, resource([1, 2]))])
        let written = try await client.storage.put(objectName(), ByteSegments([1, 2]), WriteOptions(.absent))
        #expect(written.generation == Generation(7))
    }

    @Test(arguments: transient)
    func scenario2DeletesOfAGenerationAreRetried(_ faults: [Step]) async throws {
        let client = try ScriptedClient(faults + [.reply(204)])
        try await client.storage.delete(objectName(), Generation(7))
        #expect(client.transport.requests.allSatisfy { $0.url.contains("generation=7") })
    }

    @Test(arguments: [Step.reply(503), .failure(.connectionLost), .failure(.firstByteTimeout), .reply(408)])
    func scenario3WritesWithoutPreconditionAreNot(_ fault: Step) async throws {
        let client = try ScriptedClient([fault, .text(200, resource([1]))])
        let error = await storeError {
            _ = try await client.storage.put(objectName(), ByteSegments([1]), WriteOptions(.any))
        }
        #expect(error?.code == .unavailable)
        #expect(client.transport.requests.count == 1)
    }

    @Test(arguments: [Step.reply(429), .failure(.connect)])
    func writesThatWereRefusedForSureAreRetried(_ fault: Step) async throws {
        let client = try ScriptedClient([fault, .text(200, resource([1]))])
        _ = try await client.storage.put(objectName(), ByteSegments([1]), WriteOptions(.any))
        #expect(client.transport.requests.count == 2)
    }

    @Test(arguments: [400, 401, 403, 412, 501])
    func scenario5RefusalsFailAtOnce(_ status: Int) async throws {
        let client = try ScriptedClient([.reply(status)])
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.status == status)
        #expect(client.transport.requests.count == 1)
    }

    @Test(arguments: [(Step.reply(503), 400), (.failure(.connectionLost), 401)])
    func scenario6ARefusalEndsTheRetries(_ fault: Step, _ status: Int) async throws {
        let client = try ScriptedClient([fault, .reply(status)])
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.status == status)
        #expect(client.transport.requests.count == 2)
    }

    @Test func scenario7UploadsGoOnAfterFaults() async throws {
        let session: HTTPHeaders = [("Location", "http://127.0.0.1:9000/upload/s?upload_id=x")]
        let chunk = 256 * 1024
        let body = [UInt8](repeating: 5, count: 2 * chunk)
        let client = try ScriptedClient([
            .failure(.connectionLost), .reply(503), .reply(200, session),  // start
            .reply(503),  // the chunk, of which 256 KiB were stored
            .reply(408), .reply(308, [("Range", "bytes=0-262143")]),  // first status, after one more fault
            .reply(308, [("Range", "bytes=0-262143")]),  // second status: settled
            .text(200, resource(body)),
        ])
        let name = try objectName()
        let upload = try await client.storage.beginUpload(name, size: body.count, WriteOptions(.absent))
        let error = await storeError {
            _ = try await client.storage.continueUpload(upload, ByteSegments(body), at: 0, isLast: true)
        }
        #expect(error?.code == .unavailable)
        guard case .persisted(let held) = try await client.storage.uploadProgress(upload) else {
            Issue.record("finished too early")
            return
        }
        #expect(held == chunk)
        let rest = ByteSegments(Array(body[held...]))
        guard
            case .finished(let written) = try await client.storage.continueUpload(upload, rest, at: held, isLast: true)
        else {
            Issue.record("not finished")
            return
        }
        #expect(written.size == body.count)
        #expect(client.transport.requests.last?.headers["content-range"] == "bytes 262144-524287/524288")
    }

    @Test func scenario8DownloadsGoOnWhereTheyBroke() async throws {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
        let client = try ScriptedClient([
            .brokenBody(206, partHeaders(bytes, 0..<1000), bytes, after: 4),
            .brokenBody(206, partHeaders(bytes, 4..<1000), Array(bytes[4...]), after: 256),
            part(bytes, 260..<1000),
        ])
        let attributes = ObjectAttributes(
            name: try objectName(),
            generation: Generation(7),
            size: 1000,
            crc32c: CRC32C.of(bytes)
        )
        let buffer = BufferLease(size: 1000)
        let seen = Lock([UInt8]())
        let read = RangeRead(ByteRange(offset: 0, count: 1000), into: buffer) { offset, piece in
            seen.withLock { seen in if offset == seen.count { seen += piece } }
        }
        try await client.storage.source(attributes).read(read)
        #expect(Array(buffer.bytes[..<1000]) == bytes)
        #expect(seen.withLock { $0 } == bytes)
        let ranges = client.transport.requests.map { $0.headers["range"] }
        #expect(ranges == ["bytes=0-999", "bytes=4-999", "bytes=260-999"])
    }

    @Test func theDeadlineEndsRetries() async throws {
        let transport = ScriptedTransport { _, _ in .reply(503) }
        let client = try ScriptedClient(transport, options: StorageOptions(retryDeadline: .seconds(60)))
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("gave up after") == true)
        #expect(client.time.sleeps.reduce(.zero, +) <= .seconds(60))
        #expect(transport.requests.count > 2)
    }

    @Test func throttlesAreTold() async throws {
        let told = Lock(0)
        let options = StorageOptions(onThrottle: { told.withLock { $0 += 1 } })
        let throttled403 = #"{"error":{"code":403,"errors":[{"reason":"rateLimitExceeded"}]}}"#
        let client = try ScriptedClient(
            [.reply(429, [("Retry-After", "9")]), .reply(503), .text(403, throttled403), .text(200, resource([1]))],
            options: options
        )
        _ = try await client.storage.attributes(objectName(), generation: nil)
        #expect(told.withLock { $0 } == 3)
        #expect(client.time.sleeps.first.map { $0 >= .seconds(9) } == true)
    }

    @Test func allAttemptsHaveOneIdentity() async throws {
        let client = try ScriptedClient([.reply(503), .text(200, resource([1]))])
        _ = try await client.storage.attributes(objectName(), generation: nil)
        let requests = client.transport.requests
        #expect(Set(requests.map { $0.headers["x-goog-gcs-idempotency-token"] }).count == 1)
        let identities = requests.compactMap { $0.headers["x-goog-api-client"] }
        #expect(identities[0].hasSuffix("gccl-attempt-count/1") && identities[1].hasSuffix("gccl-attempt-count/2"))
        #expect(requests[0].headers["user-agent"]?.hasPrefix("penstock") == true)
    }
}
