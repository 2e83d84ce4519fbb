import Foundation
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

@Suite struct AuthorizationTests {
    /// Credentials whose tokens are `SECRET-1`, `SECRET-2`, … one for each request to a metadata server.
    private func credentials(_ tokens: @escaping @Sendable (Int) -> String = { "SECRET-\($0)" }) async throws
        -> (GoogleCredentials, ScriptedTransport)
    {
        let served = Lock(0)
        let flavor: HTTPHeaders = [("Metadata-Flavor", "Google")]
        let transport = ScriptedTransport { request, _ in
            guard request.url.contains("/token") else { return .text(200, flavor, "robot@example.com") }
            let number = served.withLock { served in
                served += 1
                return served
            }
            return .text(200, flavor, "{\"access_token\":\"\(tokens(number))\",\"expires_in\":3600}")
        }
        let options = CredentialOptions(environment: ["GCE_METADATA_HOST": "127.0.0.1:8080", "HOME": "/nonexistent"])
        return (try await GoogleCredentials.find(options, transport: transport, time: LeapingTime()), transport)
    }

    @Test func a401IsReplayedOnceWithANewToken() async throws {
        let (credentials, _) = try await credentials()
        let client = try ScriptedClient([.reply(401), .text(200, resource([1]))], credentials: credentials)
        _ = try await client.storage.attributes(objectName(), generation: nil)
        let sent = client.transport.requests.map { $0.headers["authorization"] }
        #expect(sent == ["Bearer SECRET-1", "Bearer SECRET-2"])
        #expect(client.time.sleeps.isEmpty)
    }

    @Test func asecond401IsTheEnd() async throws {
        let (credentials, _) = try await credentials()
        let client = try ScriptedClient([.reply(401), .text(401, "no"), .reply(200)], credentials: credentials)
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.code == .unauthenticated && client.transport.requests.count == 2)
    }

    @Test func writesWithoutPreconditionAreReplayedToo() async throws {
        let (credentials, _) = try await credentials()
        let client = try ScriptedClient([.reply(401), .text(200, resource([1]))], credentials: credentials)
        _ = try await client.storage.put(objectName(), ByteSegments([1]), WriteOptions(.any))
        #expect(client.transport.requests.count == 2)
    }

    @Test func aReadIsReplayedInTheMiddle() async throws {
        let (credentials, _) = try await credentials()
        let bytes: [UInt8] = [1, 2, 3, 4]
        let client = try ScriptedClient(
            [.brokenBody(206, partHeaders(bytes, 0..<4), bytes, after: 1), .reply(401), part(bytes, 1..<4)],
            credentials: credentials
        )
        let attributes = ObjectAttributes(name: try objectName(), generation: Generation(7), size: 4, crc32c: nil)
        let buffer = BufferLease(size: 4)
        try await client.storage.source(attributes).read(RangeRead(ByteRange(offset: 0, count: 4), into: buffer))
        #expect(Array(buffer.bytes[..<4]) == bytes)
        let sent = client.transport.requests.map { $0.headers["authorization"] }
        #expect(sent == ["Bearer SECRET-1", "Bearer SECRET-1", "Bearer SECRET-2"])
    }

    @Test func anonymousRequestsHaveNoAuthorization() async throws {
        let client = try ScriptedClient([.reply(401)])
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.code == .unauthenticated && client.transport.requests.count == 1)
        #expect(client.transport.requests[0].headers["authorization"] == nil)
    }

    @Test func tokensNeverTravelInTheClear() async throws {
        let (credentials, _) = try await credentials()
        let client = try ScriptedClient([], credentials: credentials, endpoint: "http://storage.example")
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.code == .unauthenticated && client.transport.requests.isEmpty)
        let attributes = ObjectAttributes(name: try objectName(), generation: Generation(7), size: 4, crc32c: nil)
        let read = await storeError {
            let range = ByteRange(offset: 0, count: 4)
            try await client.storage.source(attributes).read(RangeRead(range, into: BufferLease(size: 4)))
        }
        #expect(read?.code == .unauthenticated && client.transport.requests.isEmpty)
    }

    @Test func errorsAndDescriptionsHoldNoSecret() async throws {
        let (credentials, _) = try await credentials()
        for step in [ScriptedTransport.Step.reply(401), .reply(403), .reply(404), .failure(.tls), .reply(412)] {
            let client = try ScriptedClient([step, step], credentials: credentials)
            let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
            #expect(error?.description.contains("SECRET") == false)
        }
        #expect(!"\(credentials)".contains("SECRET") && "\(credentials)".contains("robot@example.com"))
        let dumped = Lock("")
        var text = ""
        dump(credentials, to: &text)
        dumped.withLock { $0 = text }
        #expect(!text.contains("SECRET"))
    }

    @Test func theBilledProjectIsNamed() async throws {
        let client = try ScriptedClient([.text(200, resource([1]))], options: StorageOptions(userProject: "p1"))
        _ = try await client.storage.attributes(objectName(), generation: nil)
        #expect(client.transport.requests.first?.headers["x-goog-user-project"] == "p1")
    }

    @Test func noTokenForNowIsTransient() async throws {
        let transport = ScriptedTransport { _, _ in .failure(.connect) }
        let options = CredentialOptions(environment: ["GCE_METADATA_HOST": "127.0.0.1:8080", "HOME": "/nonexistent"])
        let credentials = try await GoogleCredentials.find(options, transport: transport, time: LeapingTime())
        let client = try ScriptedClient([], credentials: credentials)
        let error = await storeError { _ = try await client.storage.attributes(objectName(), generation: nil) }
        #expect(error?.code == .unavailable && error?.isTransient == true)
    }
}
