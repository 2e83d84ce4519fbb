import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct ReadTests {
    private let bytes = (0..<100).map { UInt8($0) }

    private func attributes(encoding: String? = nil) throws -> ObjectAttributes {
        ObjectAttributes(
            name: try objectName(),
            generation: Generation(7),
            size: 100,
            crc32c: CRC32C.of(bytes),
            contentEncoding: encoding
        )
    }

    private func read(
        _ client: ScriptedClient,
        _ offset: Int = 10,
        _ count: Int = 20,
        deadline: MonotonicInstant = .distantFuture
    ) async throws -> [UInt8] {
        let buffer = BufferLease(size: count)
        let range = ByteRange(offset: offset, count: count)
        try await client.storage.source(attributes()).read(RangeRead(range, into: buffer, deadline: deadline))
        return Array(buffer.bytes[..<count])
    }

    @Test func readsArePinnedAndNeverDecoded() async throws {
        let client = try ScriptedClient([part(bytes, 10..<30)])
        #expect(try await read(client) == Array(bytes[10..<30]))
        let request = try #require(client.transport.requests.first)
        #expect(request.url == "http://127.0.0.1:9000\(object)?alt=media&generation=7&prettyPrint=false")
        #expect(request.headers["accept-encoding"] == "gzip" && request.headers["range"] == "bytes=10-29")
    }

    @Test func anotherRangeNeverLands() async throws {
        let client = try ScriptedClient([
            .reply(206, partHeaders(bytes, 11..<31), Array(bytes[11..<31]))
        ])
        let buffer = BufferLease(size: 20)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
        let error = await storeError {
            let range = ByteRange(offset: 10, count: 20)
            try await client.storage.source(attributes()).read(RangeRead(range, into: buffer))
        }
        #expect(error?.code == .integrity)
        #expect(buffer.bytes[..<20].allSatisfy { $0 == 0xEE })
    }

    @Test func anIgnoredRangeIsAnError() async throws {
        let headers: HTTPHeaders = [("x-goog-generation", "7"), ("Content-Length", "100")]
        let client = try ScriptedClient([.reply(200, headers, bytes)])
        #expect(await storeError { _ = try await read(client) }?.code == .integrity)
    }

    @Test func aDecompressedBodyIsAnError() async throws {
        let headers: HTTPHeaders = [("x-goog-generation", "7"), ("x-goog-stored-content-encoding", "gzip")]
        let client = try ScriptedClient([.reply(200, headers, bytes)])
        #expect(await storeError { _ = try await read(client) }?.code == .integrity)
    }

    @Test func aGzipObjectIsReadAsStored() async throws {
        var headers = partHeaders(bytes, 0..<100)
        headers.append("Content-Encoding", "gzip")
        headers.append("x-goog-stored-content-encoding", "gzip")
        let client = try ScriptedClient([.reply(206, headers, bytes)])
        #expect(try await read(client, 0, 100) == bytes)
    }

    @Test func aGenerationThatIsGoneIsNotFound() async throws {
        let client = try ScriptedClient([.text(404, "No such object: bkt/o")])
        let error = await storeError { _ = try await read(client) }
        #expect(error?.code == .notFound && error?.message.contains("gs://bkt/o#7") == true)
    }

    @Test func pastTheEndIsOutOfRange() async throws {
        let client = try ScriptedClient([])
        #expect(await storeError { _ = try await read(client, 90, 11) }?.code == .outOfRange)
        #expect(client.transport.requests.isEmpty)
        let lied = try ScriptedClient([.reply(416)])
        #expect(await storeError { _ = try await read(lied) }?.code == .outOfRange)
    }

    @Test func aBodyThatGoesOnIsAnError() async throws {
        let headers: HTTPHeaders = [("x-goog-generation", "7"), ("Content-Range", "bytes 10-29/100")]
        let client = try ScriptedClient([.reply(206, headers, bytes)])
        #expect(await storeError { _ = try await read(client) }?.code == .integrity)
    }

    @Test func theDeadlineIsTheCallers() async throws {
        let transport = ScriptedTransport { _, _ in .reply(503, [("Retry-After", "30")]) }
        let client = try ScriptedClient(transport)
        let deadline = client.time.now().advanced(by: .seconds(5))
        #expect(await storeError { _ = try await read(client, deadline: deadline) }?.code == .deadlineExceeded)
        #expect(transport.requests.count == 1)
        #expect(transport.requests.first?.timeouts.deadline == deadline)
    }

    @Test func progressRenewsPatience() async throws {
        let bytes = bytes
        // One byte an attempt, with pauses that together are longer than the patience.
        let transport = ScriptedTransport { _, index in
            .brokenBody(206, partHeaders(bytes, index..<100), Array(bytes[index...]), after: 1)
        }
        let client = try ScriptedClient(transport, options: StorageOptions(retryDeadline: .seconds(3)))
        #expect(try await read(client, 0, 100) == bytes)
        #expect(transport.requests.count == 100)
    }

    @Test func whatBrokeOffAfterMuchOfItGoesOnAtOnce() async throws {
        var random = SeededRandom(seed: 8)
        let large = random.bytes(300_000)
        let transport = ScriptedTransport { _, index in
            let rest = index * 100_000..<300_000
            return .brokenBody(206, partHeaders(large, rest), Array(large[rest]), after: 100_000)
        }
        let client = try ScriptedClient(transport)
        let attributes = ObjectAttributes(
            name: try objectName(),
            generation: Generation(7),
            size: large.count,
            crc32c: nil
        )
        let buffer = BufferLease(size: large.count)
        let range = ByteRange(offset: 0, count: large.count)
        try await client.storage.source(attributes).read(RangeRead(range, into: buffer))
        #expect(Array(buffer.bytes[..<large.count]) == large)
        #expect(transport.requests.count == 3 && client.time.sleeps.isEmpty)
    }

    @Test func whoWatchesAReadHearsOfItsPauses() async throws {
        let client = try ScriptedClient([.reply(503), .failure(.connectionLost), part(bytes, 10..<30)])
        let events = Lock([ReadEvent]())
        let range = ByteRange(offset: 10, count: 20)
        let read = RangeRead(
            range,
            into: BufferLease(size: 20),
            observer: { event in events.withLock { $0.append(event) } }
        )
        try await client.storage.source(attributes()).read(read)
        #expect(events.withLock { $0 } == [.paused(isThrottled: true), .paused(isThrottled: false)])
        // Somebody may be waiting for these bytes: no pause begins with a second.
        #expect(client.time.sleeps.allSatisfy { $0 <= .milliseconds(200) })
    }

    @Test func bytesThatDoNotProveThemselvesAreReadInTwoSteps() async throws {
        let wrong = ScriptedTransport.Step.reply(200, [("x-goog-hash", "crc32c=AAAAAA==")], bytes)
        let client = try ScriptedClient([wrong, .text(404, "gone")])
        let name = try objectName()
        let error = await storeError { _ = try await client.storage.currentBytes(name, limit: 100) }
        #expect(error?.code == .notFound)
        #expect(client.calls == ["GET \(object)", "GET \(object)"])
        #expect(client.transport.requests.last?.url.contains("alt=media") == false)
    }

    @Test func cancellingStopsTheTransfer() async throws {
        let client = try ScriptedClient([.hang])
        let outcome = Lock<Result<Void, ObjectStoreError>?>(nil)
        let range = ByteRange(offset: 0, count: 10)
        let reading = try client.storage.source(attributes()).read(RangeRead(range, into: BufferLease(size: 10))) {
            result in
            outcome.withLock { $0 = result }
        }
        #expect(outcome.withLock { $0 == nil })
        reading.cancel()
        reading.cancel()
        guard case .failure(let error) = try #require(outcome.withLock { $0 }) else {
            Issue.record("a cancelled read succeeded")
            return
        }
        #expect(error.code == .cancelled)
    }
}

@Suite struct ReadProgressTests {
    @Test func oneAttemptAtATime() {
        var progress = ReadProgress(count: 10)
        let begins = [progress.begin(), progress.begin()]
        #expect(begins == [true, false])
        progress.ended(delivered: 4)
        let beginsAgain = progress.begin()
        #expect(progress.received == 4 && beginsAgain)
        progress.ended(delivered: 6)
        #expect(progress.isComplete)
        let finishes = [progress.finish(), progress.finish(), progress.begin()]
        #expect(finishes == [true, false, false])
    }

    @Test func cancelDependsOnWhoHoldsTheBuffer() {
        var waiting = ReadProgress(count: 10)
        let steps = [waiting.cancel(), waiting.cancel()]
        let beginsLate = waiting.begin()
        #expect(steps == [.finish, .nothing] && !beginsLate)
        var inFlight = ReadProgress(count: 10)
        _ = inFlight.begin()
        let stop = inFlight.cancel()
        inFlight.ended(delivered: 3)
        let beginsAfter = inFlight.begin()
        #expect(stop == .stopTransfer && !beginsAfter)
        _ = inFlight.finish()
        let nothing = inFlight.cancel()
        #expect(nothing == .nothing)
    }
}

@Suite struct ContentsTests {
    private let bytes = Array("hello world".utf8)
    private func media(_ body: [UInt8], hash: String = "crc32c=yZRlqg==") -> ScriptedTransport.Step {
        .reply(200, [("x-goog-generation", "7"), ("x-goog-hash", hash)], body)
    }

    private func contents(_ client: ScriptedClient, generation: Generation? = nil) async throws -> [UInt8] {
        try await client.storage.contents(objectName(), generation: generation, limit: 1000).bytes
    }

    @Test func theWholeIsVerified() async throws {
        let client = try ScriptedClient([.text(200, resource(bytes)), media(bytes)])
        #expect(try await contents(client) == bytes)
    }

    @Test func aWrongByteIsFetchedAgainOnce() async throws {
        let wrong = Array("hellO world".utf8)
        let healed = try ScriptedClient([
            .text(200, resource(bytes)), media(wrong), .text(200, resource(bytes)), media(bytes),
        ])
        #expect(try await contents(healed) == bytes)
        let broken = try ScriptedClient([
            .text(200, resource(bytes)), media(wrong), .text(200, resource(bytes)), media(wrong),
        ])
        #expect(await storeError { _ = try await contents(broken) }?.code == .integrity)
    }

    @Test func anotherHashIsAnError() async throws {
        let step = media(bytes, hash: "crc32c=AAAAAA==")
        let client = try ScriptedClient([.text(200, resource(bytes)), step, .text(200, resource(bytes)), step])
        #expect(await storeError { _ = try await contents(client) }?.code == .integrity)
    }

    @Test func aReplacementInBetweenIsReadInstead() async throws {
        let other = Array("other".utf8)
        let replaced: ScriptedTransport.Step = .reply(200, [("x-goog-generation", "8")], other)
        let client = try ScriptedClient([
            .text(200, resource(bytes)), .text(404, "No such object"), .text(200, resource(other, generation: 8)),
            replaced,
        ])
        #expect(try await contents(client) == other)
        let pinned = try ScriptedClient([.text(200, resource(bytes)), .text(404, "No such object")])
        #expect(await storeError { _ = try await contents(pinned, generation: Generation(7)) }?.code == .notFound)
    }

    @Test func aLongerBodyThanAnnouncedIsAnError() async throws {
        let client = try ScriptedClient([.text(200, resource(bytes)), media(bytes + [0])])
        #expect(await storeError { _ = try await contents(client) } != nil)
    }
}
