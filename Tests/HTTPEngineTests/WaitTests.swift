import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct WaitTests {
    @Test(arguments: ["GET", "PUT"])
    func givesUpWithoutAFirstByte(method: String) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            // An interim reply is no reply.
            try connection.write("HTTP/1.1 100 Continue\r\n\r\n")
            try connection.waitForClose()
        }
        let timeouts = patient { $0.firstByte = .milliseconds(50) }
        let body = method == "PUT" ? ByteSegments(pattern(100_000)) : nil
        try await withEngine { engine in
            let failure = await engine.failure(of: HTTPRequest(method, server.url, body: body, timeouts: timeouts))
            #expect(failure?.code == .firstByteTimeout)
            #expect(failure?.isTransient == true)
        }
    }

    @Test func givesUpOnABodyThatStalls() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234")
            try connection.waitForClose()
        }
        let timeouts = patient { $0.slowFor = .milliseconds(80) }
        try await withEngine { engine in
            let request = HTTPRequest("GET", server.url, timeouts: timeouts)
            let failure = await engine.fetch(request, into: BufferLease(size: 10)).failure
            #expect(failure?.code == .stalled)
            #expect(failure?.delivered == 4)
        }
    }

    @Test func givesUpOnAPeerThatDrips() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n\r\n")
            // One byte at a time, each answered by nothing: as fast as this is, it is no throughput.
            for _ in 0..<10_000 { try connection.write("x") }
            try connection.waitForClose()
        }
        let timeouts = patient {
            $0.slowFor = .milliseconds(200)
            $0.minimumBytesPerSecond = 1 << 30
        }
        try await withEngine { engine in
            let request = HTTPRequest("GET", server.url, timeouts: timeouts)
            let failure = await engine.fetch(request, into: BufferLease(size: 1 << 20)).failure
            #expect(failure?.code == .stalled)
        }
    }

    @Test func givesUpOnAnUploadThatNobodyReads() async throws {
        let done = Gate()
        let server = try ScriptedServer { connection in
            _ = try connection.readHead()
            try done.wait()
        }
        let timeouts = patient { $0.slowFor = .milliseconds(200) }
        try await withEngine { engine in
            // More than the socket buffers of both ends hold.
            let lease = BufferLease(size: 32 << 20)
            let body = ByteSegments(lease, 0..<lease.count)
            let failure = await engine.failure(of: HTTPRequest("PUT", server.url, body: body, timeouts: timeouts))
            #expect(failure?.code == .stalled)
        }
        done.open()
    }

    @Test func endsAtTheDeadlineWhateverItIsDoing() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.waitForClose()
        }
        let soon = patient { $0.deadline = SystemTime().now().advanced(by: .milliseconds(50)) }
        let past = patient { $0.deadline = SystemTime().now().advanced(by: .seconds(-1)) }
        try await withEngine(plain { $0.maximumConnectionsPerHost = 1 }) { engine in
            // The second waits in the queue for the first one's connection.
            async let running = engine.failure(of: HTTPRequest("GET", server.url, timeouts: soon))
            async let queued = engine.failure(of: HTTPRequest("GET", server.url, timeouts: soon))
            #expect(await running?.code == .deadlineExceeded)
            #expect(await queued?.code == .deadlineExceeded)
            #expect(await engine.failure(of: HTTPRequest("GET", server.url, timeouts: past))?.code == .deadlineExceeded)
        }
    }

    @Test func aHandleWhoseRequestWasCutShortDoesNotSpoilTheNext() async throws {
        let server = try ScriptedServer { connection in
            while let request = try connection.readRequest() {
                if request.target == "/silent" { return try connection.waitForClose() }
                try connection.reply(200)
            }
        }
        let timeouts = patient { $0.firstByte = .milliseconds(20) }
        try await withEngine { engine in
            for _ in 0..<3 {
                let failure = await engine.failure(of: HTTPRequest("GET", server.url + "/silent", timeouts: timeouts))
                #expect(failure?.code == .firstByteTimeout)
                let reply = try await engine.send(HTTPRequest("GET", server.url), limit: 0)
                #expect(reply.status == 200)
            }
        }
    }

    @Test func doesNotTimeTheQueueForAConnection() async throws {
        let isBusy = Gate()
        let release = Gate()
        let server = try ScriptedServer { connection in
            while let request = try connection.readRequest() {
                if request.target == "/first" {
                    isBusy.open()
                    try release.wait()
                }
                try connection.reply(200)
            }
        }
        let timeouts = patient { $0.firstByte = .milliseconds(1000) }
        try await withEngine(plain { $0.maximumConnectionsPerHost = 1 }) { engine in
            async let first = engine.send(HTTPRequest("GET", server.url + "/first"), limit: 0)
            try await isBusy.passed()
            async let second = engine.send(HTTPRequest("GET", server.url + "/second", timeouts: timeouts), limit: 0)
            // Time itself is under test here: it passes while the second one waits for its connection.
            let elsewhere = await engine.failure(
                of: HTTPRequest(
                    "GET",
                    server.url,
                    timeouts: patient { $0.deadline = SystemTime().now().advanced(by: .milliseconds(1200)) }
                )
            )
            #expect(elsewhere?.code == .deadlineExceeded)
            release.open()
            #expect(try await first.status == 200)
            #expect(try await second.status == 200)
        }
    }
}
