import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

/// An engine that is shut down at the end of its test, and reads no environment.
func withEngine<Value: Sendable>(
    configure: (inout EngineConfiguration) -> Void = { _ in },
    _ body: (HTTPEngine) async throws -> Value
) async throws -> Value {
    var configuration = EngineConfiguration(environment: { _ in nil })
    configure(&configuration)
    let engine = try HTTPEngine(configuration)
    defer { engine.shutdown() }
    return try await body(engine)
}

extension HTTPEngine {
    /// A download as an async call.
    func fetch(_ download: HTTPDownload) async -> Result<HTTPDownloadResult, HTTPFailure> {
        await withCheckedContinuation { continuation in
            self.download(download) { continuation.resume(returning: $0) }
        }
    }

    /// A download of the whole buffer.
    func fetch(_ request: HTTPRequest, into buffer: BufferLease) async -> Result<HTTPDownloadResult, HTTPFailure> {
        let count = buffer.count
        return await fetch(HTTPDownload(request, into: buffer, at: 0) { _ in .deliver(count: count) })
    }

    /// The failure of a request that must fail.
    func failure(of request: HTTPRequest, limit: Int = 1 << 20) async -> HTTPFailure? {
        do throws(HTTPFailure) {
            _ = try await send(request, limit: limit)
            return nil
        } catch {
            return error
        }
    }
}

@Suite struct SendTests {
    @Test func getsAReply() async throws {
        let server = try ScriptedServer { connection in
            while let request = try connection.readRequest() {
                try connection.reply(200, headers: [("X-Seen", request.target)], text: "hello")
            }
        }
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("GET", server.url + "/a/../b?c=d"), limit: 100)
            #expect(reply.status == 200)
            #expect(reply.headers["x-seen"] == "/a/../b?c=d")
            #expect(reply.body == Array("hello".utf8))
        }
    }
}
