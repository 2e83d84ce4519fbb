import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

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

    @Test func sendsTheCallersHeadersAndNoneThatChangeTheReply() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        let headers: HTTPHeaders = [("X-Twice", "1"), ("X-Twice", "2"), ("X-Empty", "")]
        try await withEngine { engine in
            _ = try await engine.send(HTTPRequest("GET", server.url, headers: headers), limit: 0)
        }
        let request = try #require(server.requests.first)
        #expect(request.headers.filter { $0.name == "X-Twice" }.map(\.value) == ["1", "2"])
        #expect(request["x-empty"]?.isEmpty == true)
        #expect(request["user-agent"] == "penstock")
        #expect(request["accept-encoding"] == nil)
        #expect(request["expect"] == nil)
    }

    @Test func reusesConnections() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "x") })
        try await withEngine { engine in
            for _ in 0..<3 { _ = try await engine.send(HTTPRequest("GET", server.url), limit: 10) }
        }
        #expect(server.connections == 1)
        #expect(server.requests.map(\.connection) == [0, 0, 0])
    }

    @Test func doesNotFollowRedirects() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(302, headers: [("Location", "/elsewhere")]) })
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("GET", server.url), limit: 10)
            #expect(reply.status == 302)
            #expect(reply.headers["location"] == "/elsewhere")
        }
        #expect(server.requests.count == 1)
    }

    @Test func passesAResumeIncompleteOn() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(308, headers: [("Range", "bytes=0-41")]) })
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("PUT", server.url, body: ByteSegments([1])), limit: 10)
            #expect(reply.status == 308)
            #expect(reply.headers["range"] == "bytes=0-41")
        }
    }

    @Test func keepsRepeatedHeadersAndSkipsInterimReplies() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            try connection.write("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\na:3\r\nContent-Length: 0\r\n\r\n")
        }
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("GET", server.url), limit: 0)
            #expect(reply.headers.all("A") == ["1", "3"])
            #expect(reply.headers["link"] == nil)
        }
    }

    @Test func leavesCompressedBodiesAsTheyAre() async throws {
        let body: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let server = try ScriptedServer(answering: { _ in
            ScriptedReply(200, headers: [("Content-Encoding", "gzip")], body: body)
        })
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("GET", server.url), limit: 100)
            #expect(reply.body == body)
        }
    }

    @Test func readsChunkedBodies() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try connection.write("3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: no\r\n\r\n")
        }
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest("GET", server.url), limit: 5)
            #expect(reply.body == Array("abcde".utf8))
            #expect(reply.headers["x-trailer"] == nil)
        }
    }

    @Test(arguments: [true, false])
    func refusesABodyPastTheLimit(isAnnounced: Bool) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            let length = isAnnounced ? "Content-Length: 11\r\n" : ""
            try connection.write("HTTP/1.1 200 OK\r\n\(length)\r\n12345678901")
        }
        try await withEngine { engine in
            let failure = await engine.failure(of: HTTPRequest("GET", server.url), limit: 10)
            #expect(failure?.code == .bodyTooLong)
            #expect(failure?.head?.status == 200)
        }
    }

    @Test(arguments: ["HEAD", "GET", "DELETE", "OPTIONS"])
    func sendsMethodsWithoutABody(method: String) async throws {
        let server = try ScriptedServer { connection in
            let request = try connection.readRequest()
            // A reply to HEAD announces a length and has no body (RFC 9110, 9.3.2).
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            if request?.method != "HEAD" { try connection.write("body") }
            try connection.waitForClose()
        }
        try await withEngine { engine in
            let reply = try await engine.send(HTTPRequest(method, server.url), limit: 4)
            #expect(reply.body.count == (method == "HEAD" ? 0 : 4))
        }
        #expect(server.requests.first?.method == method)
        #expect(server.requests.first?["content-length"] == nil)
    }

    @Test func boundsTheHeaderBlock() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n")
            for _ in 0..<600 { try connection.write("X: \(String(repeating: "y", count: 1000))\r\n") }
            try connection.waitForClose()
        }
        try await withEngine { engine in
            #expect(await engine.failure(of: HTTPRequest("GET", server.url))?.code == .protocolViolation)
        }
    }

    @Test(arguments: ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\r\n"])
    func refusesWhatIsNotHTTP(greeting: String) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            try connection.write(greeting)
        }
        try await withEngine { engine in
            #expect(await engine.failure(of: HTTPRequest("GET", server.url))?.code == .protocolViolation)
        }
    }

    @Test func tellsALostConnectionBeforeTheReply() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.readRequest()
            connection.reset()
        }
        try await withEngine { engine in
            let failure = await engine.failure(of: HTTPRequest("GET", server.url + "/x?signature=secret"))
            #expect(failure?.code == .connectionLost)
            #expect(failure?.isTransient == true)
            #expect(failure?.message.contains("/x") == true)
            #expect(failure?.message.contains("secret") == false)
        }
    }

    @Test func tellsThatNobodyListens() async throws {
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200) })
        let url = server.url
        server.stop()
        try await withEngine { engine in
            #expect(await engine.failure(of: HTTPRequest("GET", url))?.code == .connect)
        }
    }

    @Test func tellsThatANameIsUnknown() async throws {
        try await withEngine { engine in
            // "invalid" never resolves (RFC 6761, 6.4); a label of 64 bytes is refused without asking anyone.
            let label = String(repeating: "a", count: 64)
            let failure = await engine.failure(of: HTTPRequest("GET", "http://user:pass@\(label).invalid/"))
            #expect(failure?.code == .resolve)
            #expect(failure?.message.contains("pass") == false)
        }
    }
}
