import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@testable import HTTPEngine

/// Downloads that the loop carries by itself, where `DownloadTests` does not look: connections, and replies that it leaves
/// to libcurl.
@Suite struct DirectTransferTests {
    @Test func onlyPlainRequestsGoDirectly() throws {
        let configuration = plain { $0.proxies = ProxySettings(http: "http://proxy:3128") }
        let request = HTTPRequest("GET", "https://Host.example:8443?alt=media", headers: [("Range", "bytes=0-9")])
        let direct = try #require(DirectRequest(request, configuration))
        #expect(direct.origin.description == "https://host.example:8443")
        #expect(
            String(decoding: direct.bytes, as: UTF8.self)
                == "GET /?alt=media HTTP/1.1\r\nHost: host.example:8443\r\nUser-Agent: penstock\r\nAccept: */*\r\n"
                + "Range: bytes=0-9\r\n\r\n"
        )
        let others = [
            HTTPRequest("GET", "http://host/"), HTTPRequest("HEAD", "https://host/"),
            HTTPRequest("GET", "https://host/#part"), HTTPRequest("GET", "https://user@host/"),
            HTTPRequest("GET", "https://host/", body: ByteSegments([1])),
        ]
        for other in others { #expect(DirectRequest(other, configuration) == nil) }
        #expect(DirectRequest(HTTPRequest("GET", "http://host/", usesProxy: false), configuration) != nil)
    }

    private func download(_ url: String, _ count: Int) -> HTTPDownload {
        HTTPDownload(HTTPRequest("GET", url), into: BufferLease(size: count), at: 0) { _ in .deliver(count: count) }
    }

    @Test func aBodyInChunksIsReadByLibcurlInstead() async throws {
        let server = try ScriptedServer { connection in
            while try connection.readRequest() != nil {
                try connection.write(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n2\r\n34\r\n0\r\n\r\n"
                )
            }
        }
        try await withEngine { engine in
            let download = download(server.url, 4)
            #expect(await engine.fetch(download).delivered == 4)
            #expect(download.buffer.bytes.elementsEqual("1234".utf8))
        }
        #expect(server.requests.count == 2)
    }

    @Test(arguments: [true, false])
    func aConnectionThatTheServerClosedMeanwhileHurtsNobody(afterTheReply: Bool) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.reply(200, text: "1234")
            // Closed at once, or when the next request is there: without a byte of reply either way.
            if !afterTheReply { _ = try connection.readRequest() }
        }
        try await withEngine { engine in
            for _ in 0..<5 { #expect(await engine.fetch(download(server.url, 4)).delivered == 4) }
        }
        #expect(server.connections == 5)
    }

    @Test func requestsPastTheBoundWaitForAConnection() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "1234") })
        try await withEngine(plain { $0.maximumConnectionsPerHost = 3 }) { engine in
            let delivered = await withTaskGroup(of: Int.self) { group in
                for _ in 0..<60 {
                    group.addTask { await engine.fetch(self.download(server.url, 4)).delivered ?? 0 }
                }
                return await group.reduce(0, +)
            }
            #expect(delivered == 240)
        }
        #expect(server.connections <= 2, "one of three stays libcurl's")
    }

    @Test func whoWaitsForAConnectionCanBeCancelledAndTimedOut() async throws {
        let isBusy = Gate()
        let release = Gate()
        let server = try ScriptedServer { connection in
            while try connection.readRequest() != nil {
                isBusy.open()
                try release.wait()
                try connection.reply(200, text: "1234")
            }
        }
        try await withEngine(plain { $0.maximumConnectionsPerHost = 2 }) { engine in
            async let first = engine.fetch(download(server.url, 4))
            try await isBusy.passed()
            var late = download(server.url, 4)
            late.request.timeouts.deadline = SystemTime().now().advanced(by: .milliseconds(20))
            #expect(await engine.fetch(late).failure?.code == .deadlineExceeded)
            let cancelled = await withCheckedContinuation { continuation in
                engine.download(download(server.url, 4)) { continuation.resume(returning: $0) }.cancel()
            }
            #expect(cancelled.failure?.code == .cancelled)
            release.open()
            #expect(await first.delivered == 4)
        }
        #expect(server.connections == 1)
    }

    @Test func encryptedBodiesArriveWholeOnConnectionsThatAreUsedAgain() async throws {
        let authority = try TestAuthority()
        let body = pattern(5_000_003)
        let server = try authority.server(.good, serving: body)
        let registry = MetricRegistry()
        let engine = try HTTPEngine(plain { $0.certificateFile = authority.file }, metrics: registry)
        defer { engine.shutdown() }
        for _ in 0..<3 {
            let download = download(server.url, body.count)
            #expect(await engine.fetch(download).delivered == body.count)
            #expect(download.buffer.bytes.elementsEqual(body))
        }
        let reused = registry.snapshot().first { $0.description.name == "http_connections_reused_total" }
        guard case .number(2) = reused?.value else {
            Issue.record("\(reused.debugDescription) of three requests ran on a connection that was there")
            return
        }
    }

    @Test func aBadCertificateIsRefused() async throws {
        let authority = try TestAuthority()
        let server = try authority.server(.wrongHost)
        try await withEngine(plain { $0.certificateFile = authority.file }) { engine in
            let failure = await engine.fetch(download(server.url, 4)).failure
            #expect(failure?.code == .tls)
            #expect(failure?.isTransient == false)
        }
    }

    /// Each failure was counted twice, after which the loop did not let libcurl make the next connection.
    @Test func afterAConnectionThatFailedTheNextIsMade() async throws {
        let closed = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        closed.stop()
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "1234") })
        try await withEngine { engine in
            let deadline = SystemTime().now().advanced(by: .seconds(20))
            for _ in 0..<3 {
                var refused = download(closed.url, 4)
                refused.request.timeouts.deadline = deadline
                #expect(await engine.fetch(refused).failure?.code == .connect)
            }
            var good = download(server.url, 4)
            good.request.timeouts.deadline = deadline
            #expect(await engine.fetch(good).delivered == 4)
        }
    }

    @Test func nobodyListensIsNoConnection() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        server.stop()
        try await withEngine { engine in
            #expect(await engine.fetch(download(server.url, 4)).failure?.code == .connect)
        }
    }
}
