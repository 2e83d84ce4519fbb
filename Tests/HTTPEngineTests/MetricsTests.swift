import HTTPEngine
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@Suite struct MetricsTests {
    @Test func countsRequestsBytesReuseAndFailures() async throws {
        let server = try ScriptedServer { connection in
            while let request = try connection.readRequest() {
                if request.target == "/lost" { return connection.reset() }
                try connection.reply(200, text: "12345")
            }
        }
        let registry = MetricRegistry()
        let engine = try HTTPEngine(plain(), metrics: registry)
        defer { engine.shutdown() }
        for _ in 0..<3 {
            let request = HTTPRequest("PUT", server.url, body: ByteSegments([1, 2, 3]))
            _ = try await engine.send(request, limit: 10)
        }
        let fresh = try HTTPEngine(plain(), metrics: registry)
        defer { fresh.shutdown() }
        #expect(await fresh.failure(of: HTTPRequest("GET", server.url + "/lost"))?.code == .connectionLost)

        func value(_ name: String, code: String? = nil) -> Int? {
            let sample = registry.snapshot().first {
                $0.description.name == name && $0.description.labels["code"] == code
            }
            if case .number(let number)? = sample?.value { return number }
            return nil
        }
        let head = "HTTP/1.1 200 Scripted\r\nContent-Length: 5\r\n\r\n"
        #expect(value("http_requests_total") == 4)
        #expect(value("http_connections_reused_total") == 2)
        #expect(value("http_sent_bytes_total") == 9)
        #expect(value("http_received_bytes_total") == 3 * (head.utf8.count + 5))
        #expect(value("http_failures_total", code: "connectionLost") == 1)
        #expect(value("http_failures_total", code: "cancelled") == 0)
    }
}
