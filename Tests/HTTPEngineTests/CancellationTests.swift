import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

/// Counts completions and keeps the first.
final class CompletionCounter: Sendable {
    let done = Gate()
    private let results = Lock<[Result<HTTPDownloadResult, HTTPFailure>]>([])

    func complete(_ result: Result<HTTPDownloadResult, HTTPFailure>) {
        results.withLock { $0.append(result) }
        done.open()
    }

    var count: Int { results.withLock { $0.count } }
    var failure: HTTPFailure? { results.withLock { $0.first }?.failure }
}

@Suite struct CancellationTests {
    private func hangingServer(_ body: String = "") throws -> ScriptedServer {
        try ScriptedServer { connection in
            _ = try connection.readRequest()
            if !body.isEmpty { try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n\(body)") }
            try connection.waitForClose()
        }
    }

    private func download(_ url: String, tap: Gate? = nil) -> HTTPDownload {
        HTTPDownload(
            HTTPRequest("GET", url),
            into: BufferLease(size: 10),
            at: 0,
            tap: { _, _ in tap?.open() },
            decide: { _ in .deliver(count: 10) }
        )
    }

    @Test func completesOnceWhenCancelledAtOnce() async throws {
        let server = try hangingServer()
        let counter = CompletionCounter()
        let engine = try HTTPEngine(plain())
        let cancellation = engine.download(download(server.url)) { counter.complete($0) }
        for _ in 0..<3 { cancellation.cancel() }
        try await counter.done.passed()
        cancellation.cancel()
        engine.shutdown()
        cancellation.cancel()
        #expect(counter.count == 1)
        #expect(counter.failure?.code == .cancelled)
        #expect(counter.failure?.isTransient == false)
    }

    @Test func completesOnceWhenCancelledInTheMiddleOfTheBody() async throws {
        let server = try hangingServer("1234")
        let counter = CompletionCounter()
        let arrived = Gate()
        try await withEngine { engine in
            let cancellation = engine.download(download(server.url, tap: arrived)) { counter.complete($0) }
            try await arrived.passed()
            cancellation.cancel()
            try await counter.done.passed()
        }
        #expect(counter.count == 1)
        #expect(counter.failure?.code == .cancelled)
        #expect(counter.failure?.delivered == 4)
    }

    @Test func completesOnceWhenCancelledAfterTheEnd() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "1234567890") })
        let counter = CompletionCounter()
        try await withEngine { engine in
            let cancellation = engine.download(download(server.url)) { counter.complete($0) }
            try await counter.done.passed()
            cancellation.cancel()
            _ = try await engine.send(HTTPRequest("GET", server.url), limit: 10)
        }
        #expect(counter.count == 1)
        #expect(counter.failure == nil)
    }

    @Test func aRequestMayBeCancelledFromItsTap() async throws {
        let server = try hangingServer("1234")
        let counter = CompletionCounter()
        let cancellation = Lock<HTTPCancellation?>(nil)
        try await withEngine { engine in
            var download = download(server.url)
            let isKnown = Gate()
            download.tap = { _, _ in
                try? isKnown.wait()
                cancellation.withLock { $0 }?.cancel()
            }
            let started = engine.download(download) { counter.complete($0) }
            cancellation.withLock { $0 = started }
            isKnown.open()
            try await counter.done.passed()
        }
        #expect(counter.failure?.code == .cancelled)
    }

    @Test func cancellingTheTaskCancelsTheRequest() async throws {
        let asked = Gate()
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            asked.open()
            try connection.waitForClose()
        }
        try await withEngine { engine in
            let task = Task { await engine.failure(of: HTTPRequest("GET", server.url)) }
            try await asked.passed()
            task.cancel()
            #expect(await task.value?.code == .cancelled)
        }
    }

    @Test func aCancelledTaskSendsNothing() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        try await withEngine { engine in
            let go = Gate()
            let task = Task {
                try? await go.passed()
                return await engine.failure(of: HTTPRequest("GET", server.url))
            }
            task.cancel()
            go.open()
            #expect(await task.value?.code == .cancelled)
        }
        #expect(server.requests.isEmpty)
    }

    @Test func shutdownEndsWhatIsUnderWay() async throws {
        let server = try hangingServer("1234")
        let counters = (0..<5).map { _ in CompletionCounter() }
        let arrived = Gate()
        let engine = try HTTPEngine(plain())
        for counter in counters { engine.download(download(server.url, tap: arrived)) { counter.complete($0) } }
        try await arrived.passed()
        engine.shutdown()
        #expect(counters.map(\.count) == [1, 1, 1, 1, 1])
        #expect(counters.allSatisfy { $0.failure?.code == .engineClosed })
        #expect(await engine.failure(of: HTTPRequest("GET", server.url))?.code == .engineClosed)
        engine.shutdown()
    }

    @Test func droppingTheEngineEndsWhatIsUnderWay() async throws {
        let server = try hangingServer()
        let counter = CompletionCounter()
        var engine: HTTPEngine? = try HTTPEngine(plain())
        engine?.download(download(server.url)) { counter.complete($0) }
        engine = nil
        try await counter.done.passed()
        #expect(counter.failure?.code == .engineClosed)
    }
}
