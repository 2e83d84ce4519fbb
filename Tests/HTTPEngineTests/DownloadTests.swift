import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

/// Each test runs twice: carried by the loop itself, and by libcurl.
@Suite struct DownloadTests {
    private func carrying(_ inPlace: Bool) -> EngineConfiguration { plain { $0.receivesInPlace = inPlace } }

    @Test(arguments: [true, false]) func deliversARangeIntoThePlaceOfTheBuffer(inPlace: Bool) async throws {
        let body = pattern(300_000)
        let server = try ScriptedServer(answering: { ScriptedReply(206, body: Array(body[$0.range ?? 0..<0])) })
        let buffer = BufferLease(size: 200_100)
        let request = HTTPRequest("GET", server.url, headers: [("Range", "bytes=1000-200999")])
        try await withEngine(carrying(inPlace)) { engine in
            let download = HTTPDownload(request, into: buffer, at: 100) { _ in .deliver(count: 200_000) }
            let result = try await engine.fetch(download).get()
            #expect(result.delivered == 200_000)
            #expect(buffer.bytes[100...].elementsEqual(body[1000..<201_000]))
        }
    }

    @Test(arguments: [true, false]) func showsEachPieceToTheTapInOrder(inPlace: Bool) async throws {
        let body = pattern(100_000)
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, body: body) })
        let seen = Lock<[UInt8]>([])
        let download = HTTPDownload(
            HTTPRequest("GET", server.url),
            into: BufferLease(size: body.count),
            at: 0,
            tap: { offset, piece in
                seen.withLock { seen in
                    if offset == seen.count { seen.append(contentsOf: piece) }
                }
            },
            decide: { _ in .deliver(count: 100_000) }
        )
        try await withEngine(carrying(inPlace)) { engine in _ = try await engine.fetch(download).get() }
        #expect(seen.withLock { $0 } == body)
    }

    @Test(arguments: [true, false]) func tellsWhenTheRequestGoesOutAndThenShowsBytes(inPlace: Bool) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, body: pattern(10)) })
        let events = Lock<[String]>([])
        let download = HTTPDownload(
            HTTPRequest("GET", server.url),
            into: BufferLease(size: 10),
            at: 0,
            tap: { _, _ in events.withLock { $0.append("bytes") } },
            notice: { notice in events.withLock { $0.append("\(notice)") } },
            decide: { _ in .deliver(count: 10) }
        )
        try await withEngine(carrying(inPlace)) { engine in
            for _ in 0..<2 { _ = try await engine.fetch(download).get() }
        }
        // On a new connection and on one that was used before.
        #expect(events.withLock { $0 } == ["sent", "bytes", "sent", "bytes"])
    }

    @Test func tellsWhenMoreHadComeThanWasTaken() async throws {
        let body = [UInt8](repeating: 7, count: 16 << 20)
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, body: body) })
        let behind = Lock(0)
        let sum = Lock(0)
        let download = HTTPDownload(
            HTTPRequest("GET", server.url),
            into: BufferLease(size: body.count),
            at: 0,
            // Slower than any server: what comes meanwhile lies in the socket.
            tap: { _, bytes in sum.withLock { $0 += bytes.reduce(0) { $0 + Int($1) } } },
            notice: { notice in if notice == .behind { behind.withLock { $0 += 1 } } },
            decide: { _ in .deliver(count: body.count) }
        )
        try await withEngine(carrying(true)) { engine in _ = try await engine.fetch(download).get() }
        #expect(sum.withLock { $0 } == 7 * body.count)
        #expect(behind.withLock { $0 } > 0)
    }

    @Test(arguments: [true, false]) func collectsAnErrorsTextUpToItsLimit(inPlace: Bool) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(404, text: "no such object") })
        let download = HTTPDownload(HTTPRequest("GET", server.url), into: BufferLease(size: 10), at: 0) { head in
            head.status == 200 ? .deliver(count: 10) : .collect(limit: 7)
        }
        try await withEngine(carrying(inPlace)) { engine in
            for _ in 0..<2 {
                let result = try await engine.fetch(download).get()
                #expect(result.head.status == 404)
                #expect(result.collected == Array("no such".utf8))
                #expect(result.delivered == 0)
            }
        }
        #expect(server.connections == 1, "a short rest is read, so that the connection can be used again")
    }

    @Test(arguments: [true, false]) func cutsAnEndlessErrorTextOff(inPlace: Bool) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 500 Oh\r\n\r\n")
            while true { try connection.write([UInt8](repeating: 0x21, count: 65_536)) }
        }
        let download = HTTPDownload(HTTPRequest("GET", server.url), into: BufferLease(size: 10), at: 0) { _ in
            .collect(limit: 3)
        }
        try await withEngine(carrying(inPlace)) { engine in
            let result = try await engine.fetch(download).get()
            #expect(result.collected == Array("!!!".utf8))
        }
    }

    @Test(arguments: ["Content-Length: 11\r\n", ""], [true, false])
    func neverWritesPastTheRoom(length: String, inPlace: Bool) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n\(length)\r\n12345678901")
        }
        let buffer = BufferLease(size: 20)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
        let download = HTTPDownload(HTTPRequest("GET", server.url), into: buffer, at: 5) { _ in .deliver(count: 10) }
        try await withEngine(carrying(inPlace)) { engine in
            #expect(await engine.fetch(download).failure?.code == .bodyTooLong)
        }
        #expect(buffer.bytes[..<5].allSatisfy { $0 == 0xEE })
        #expect(buffer.bytes[15...].allSatisfy { $0 == 0xEE })
    }

    @Test(arguments: [true, false]) func refusesToDeliverPastTheBuffer(inPlace: Bool) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "1234") })
        let download = HTTPDownload(HTTPRequest("GET", server.url), into: BufferLease(size: 10), at: 8) { _ in
            .deliver(count: 4)
        }
        try await withEngine(carrying(inPlace)) { engine in
            #expect(await engine.fetch(download).failure?.code == .invalidRequest)
        }
    }

    @Test(arguments: ["Content-Length: 10\r\n", "Content-Length: 4\r\n", ""], [true, false])
    func tellsABodyThatEndsEarly(length: String, inPlace: Bool) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n\(length)\r\n1234")
        }
        try await withEngine(carrying(inPlace)) { engine in
            let failure = await engine.fetch(HTTPRequest("GET", server.url), into: BufferLease(size: 10)).failure
            #expect(failure?.code == .bodyTooShort)
            #expect(failure?.delivered == 4)
            #expect(failure?.head?.status == 200)
        }
    }

    @Test(arguments: [true, false]) func tellsAResetInTheMiddleOfTheBody(inPlace: Bool) async throws {
        let arrived = Gate()
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234")
            // A reset throws away what the client has not read yet.
            try arrived.wait()
            connection.reset()
        }
        let download = HTTPDownload(
            HTTPRequest("GET", server.url),
            into: BufferLease(size: 10),
            at: 0,
            tap: { _, _ in arrived.open() },
            decide: { _ in .deliver(count: 10) }
        )
        try await withEngine(carrying(inPlace)) { engine in
            let failure = await engine.fetch(download).failure
            #expect(failure?.code == .connectionLost)
            #expect(failure?.delivered == 4)
        }
    }

    @Test(arguments: [true, false]) func givesTheBufferBackBeforeItTells(inPlace: Bool) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "1234") })
        let pool = BufferPool(bufferSize: 4096, capacity: 1)
        try await withEngine(carrying(inPlace)) { engine in
            for _ in 0..<3 {
                let leased: Int = await withCheckedContinuation { continuation in
                    guard let lease = pool.lease() else { return continuation.resume(returning: -1) }
                    let download = HTTPDownload(HTTPRequest("GET", server.url), into: lease, at: 0) { _ in
                        .deliver(count: 4)
                    }
                    engine.download(download) { _ in continuation.resume(returning: 0) }
                }
                #expect(leased == 0)
            }
        }
    }

    @Test(arguments: [true, false]) func keepsTwoHundredDownloadsApart(inPlace: Bool) async throws {
        let body = pattern(2 << 20)
        let server = try ScriptedServer(answering: { ScriptedReply(206, body: Array(body[$0.range ?? 0..<0])) })
        try await withEngine(
            plain {
                $0.receivesInPlace = inPlace
                $0.threads = 2
                $0.maximumConnectionsPerHost = 16
            }
        ) { engine in
            let wrong = await withTaskGroup(of: Bool.self) { group in
                for index in 0..<200 {
                    let start = index * 10_007
                    let count = 1000 + index * 211
                    group.addTask {
                        let buffer = BufferLease(size: count)
                        let range = "bytes=\(start)-\(start + count - 1)"
                        let request = HTTPRequest("GET", server.url, headers: [("Range", range)])
                        let result = await engine.fetch(request, into: buffer)
                        return result.failure == nil && buffer.bytes.elementsEqual(body[start..<start + count])
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 0 : 1) }
            }
            #expect(wrong == 0)
        }
        #expect(server.requests.count == 200)
        #expect(server.connections <= 16)
    }
}
