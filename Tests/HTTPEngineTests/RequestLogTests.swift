import HTTPEngine
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@Suite struct RequestLogTests {
    private let sink = MemoryLogSink()

    private func withLoggedEngine(_ level: LogLevel, _ body: (HTTPEngine) async throws -> Void) async throws {
        let engine = try HTTPEngine(plain(), log: Log(threshold: level, sink: sink))
        defer { engine.shutdown() }
        try await body(engine)
    }

    private func server(_ headers: [(String, String)] = []) throws -> ScriptedServer {
        try ScriptedServer(answering: { _ in ScriptedReply(200, headers: headers, text: "12345") })
    }

    @Test func aRequestIsOneLineWithoutQueryHeadersAndBody() async throws {
        let server = try server([("X-Request-Id", "Root=1-abc"), ("X-Other", "SECRET-4")])
        try await withLoggedEngine(.debug) { engine in
            let url = "http://user:SECRET-1@127.0.0.1:\(server.port)/b/weights.bin?Signature=SECRET-2#f"
            var request = HTTPRequest("PUT", url, headers: [("Authorization", "Bearer SECRET-3")])
            request.body = ByteSegments(Array("SECRET-5".utf8))
            _ = try? await engine.send(request, limit: 10)
            request.url = "\(server.url)/b/weights.bin?Signature=SECRET-2#f"
            _ = try await engine.send(request, limit: 10)
        }
        let line = try #require(sink.lines.last)
        for field in [
            "level=debug", "method=PUT", "host=127.0.0.1:\(server.port)", "path=/b/weights.bin", "status=200", "ms=",
            "sent=8", "received=5", #"id="Root=1-abc""#,
        ] { #expect(line.contains(field), "\(field) is missing: \(line)") }
        #expect(!sink.lines.contains { $0.contains("SECRET") || $0.contains("?") })
    }

    @Test func theIDOfAnUploadSessionIsItsSecret() async throws {
        let server = try server([("X-GUploader-UploadID", "ABPnSECRET")])
        try await withLoggedEngine(.trace) { engine in
            for query in ["uploadType=resumable&name=x", "uploadType=resumable&upload_id=ABPnSECRET"] {
                _ = try await engine.send(HTTPRequest("POST", "\(server.url)/o?\(query)"), limit: 10)
            }
            #expect(!sink.lines.contains { $0.contains("SECRET") })
            _ = try await engine.send(HTTPRequest("GET", "\(server.url)/o/x?alt=media"), limit: 10)
        }
        #expect(sink.lines.last?.contains("id=ABPnSECRET") == true, "of any other request it is what support asks for")
    }

    @Test func aFailureSaysWhich() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            connection.reset()
        }
        try await withLoggedEngine(.debug) { engine in
            _ = await engine.failure(of: HTTPRequest("DELETE", server.url + "/gone"))
        }
        #expect(sink.lines.count == 1)
        #expect(sink.lines.first?.contains("method=DELETE") == true)
        #expect(sink.lines.first?.contains("failure=connectionLost") == true)
    }

    @Test func whatNeverEndsShowsAtTrace() async throws {
        let asked = Gate()
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            asked.open()
            try connection.waitForClose()
        }
        try await withLoggedEngine(.trace) { engine in
            let task = Task { await engine.failure(of: HTTPRequest("GET", server.url + "/slow")) }
            try await asked.passed()
            #expect(sink.lines.count == 1 && sink.lines[0].contains("request begun"))
            task.cancel()
            _ = await task.value
            #expect(sink.lines.last?.contains("failure=cancelled") == true)
        }
    }

    @Test func atInfoItIsSilent() async throws {
        let server = try server()
        try await withLoggedEngine(.info) { engine in
            _ = try await engine.send(HTTPRequest("GET", server.url), limit: 10)
        }
        #expect(sink.lines.isEmpty)
    }
}
