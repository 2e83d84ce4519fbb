import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct UploadTests {
    @Test func sendsSeveralSegmentsAsOneBody() async throws {
        let bytes = pattern(5 << 20)
        let lease = BufferLease(size: 4 << 20)
        lease.bytes.copyBytes(from: bytes[1000..<1000 + (4 << 20)])
        var body = ByteSegments(Array(bytes[..<1000]))
        body.append(lease, 0..<1_000_000)
        body.append(lease, 1_000_000..<(4 << 20))
        body.append(Array(bytes[(1000 + (4 << 20))...]))
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        try await withEngine { [body] engine in
            _ = try await engine.send(HTTPRequest("PUT", server.url, body: body), limit: 10)
        }
        let request = try #require(server.requests.first)
        #expect(request.method == "PUT")
        #expect(request["content-length"] == String(bytes.count))
        #expect(request["transfer-encoding"] == nil)
        #expect(request.body == bytes)
    }

    @Test(arguments: ["PUT", "POST", "PATCH"])
    func announcesAnEmptyBody(method: String) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        try await withEngine { engine in
            _ = try await engine.send(HTTPRequest(method, server.url), limit: 10)
            _ = try await engine.send(HTTPRequest(method, server.url, body: ByteSegments()), limit: 10)
        }
        #expect(server.requests.map(\.method) == [method, method])
        #expect(server.requests.map { $0["content-length"] } == ["0", "0"])
        #expect(server.requests.map { $0["content-type"] } == [nil, nil])
    }

    @Test(arguments: ["PATCH", "POST", "DELETE"])
    func sendsABodyWithItsType(method: String) async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        let headers: HTTPHeaders = [("Content-Type", "application/json"), ("Content-Length", "2")]
        try await withEngine { engine in
            let request = HTTPRequest(method, server.url, headers: headers, body: ByteSegments(Array("{}".utf8)))
            _ = try await engine.send(request, limit: 10)
        }
        let request = try #require(server.requests.first)
        #expect(request.method == method)
        #expect(request.headers.filter { $0.name == "Content-Length" }.map(\.value) == ["2"])
        #expect(request["content-type"] == "application/json")
        #expect(request.body == Array("{}".utf8))
    }

    /// The server may have carried out the first one: whether to send it again is the caller's to decide.
    @Test(arguments: ["PUT", "POST", "DELETE", "PATCH"])
    func doesNotRepeatAWriteWhenAReusedConnectionIsDead(_ method: String) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.reply(200)
            // The second request of a connection is taken and then dropped without a word.
            _ = try connection.readRequest()
        }
        try await withEngine { engine in
            let request = HTTPRequest(method, server.url, body: ByteSegments(pattern(1000)))
            _ = try await engine.send(request, limit: 10)
            do throws(HTTPFailure) {
                _ = try await engine.send(request, limit: 10)
                Issue.record("it was answered")
            } catch {
                #expect(error.code == .connectionLost)
            }
        }
        #expect(server.requests.map(\.connection) == [0, 0])
    }

    @Test func repeatsAReadWhenAReusedConnectionIsDead() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.reply(connection.index == 0 ? 200 : 201)
            _ = try connection.readRequest()
        }
        try await withEngine { engine in
            let request = HTTPRequest("GET", server.url)
            let statuses = [
                try await engine.send(request, limit: 10).status, try await engine.send(request, limit: 10).status,
            ]
            #expect(statuses == [200, 201])
        }
    }

    @Test func returnsAnAnswerThatComesBeforeTheEndOfTheBody() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readHead()
            try connection.reply(412, headers: [("Connection", "close")], text: "precondition")
            // Reads on, as a server must that wants its answer to arrive (RFC 9112, 9.6).
            try connection.waitForClose()
        }
        try await withEngine { engine in
            let request = HTTPRequest("PUT", server.url, body: ByteSegments(pattern(4 << 20)))
            let reply = try await engine.send(request, limit: 100)
            #expect(reply.status == 412)
            #expect(reply.body == Array("precondition".utf8))
        }
    }
}
