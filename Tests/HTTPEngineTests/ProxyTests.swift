import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct ProxyTests {
    /// Answers forwarded requests itself and tunnels CONNECT to the port asked for.
    private func proxy() throws -> ScriptedServer {
        try ScriptedServer { connection in
            while let request = try connection.readRequest() {
                guard request.method == "CONNECT" else {
                    try connection.reply(200, text: "by proxy")
                    continue
                }
                guard let port = request.target.split(separator: ":").last.flatMap({ UInt16($0) }), port != 1 else {
                    return try connection.reply(403, headers: [("Connection", "close")], text: "no")
                }
                try connection.write("HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
                return try connection.tunnel(to: port)
            }
        }
    }

    private func send(
        _ request: HTTPRequest,
        _ environment: [String: String],
        certificateFile: String? = nil
    ) async throws -> HTTPResponse {
        var configuration = EngineConfiguration(environment: { environment[$0] })
        configuration.certificateFile = certificateFile
        return try await withEngine(configuration) { engine in
            try await engine.send(request, limit: 1 << 20)
        }
    }

    @Test func httpGoesThroughTheProxyOfTheEnvironment() async throws {
        let proxy = try proxy()
        let reply = try await send(HTTPRequest("GET", "http://models.invalid/x?y"), ["http_proxy": proxy.url])
        #expect(reply.body == Array("by proxy".utf8))
        #expect(proxy.requests.first?.target == "http://models.invalid/x?y")
    }

    @Test(arguments: [["no_proxy": "example.org,127.0.0.1"], ["NO_PROXY": "*"]])
    func exceptionsGoDirectly(exceptions: [String: String]) async throws {
        let proxy = try proxy()
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "direct") })
        let environment = exceptions.merging(["http_proxy": proxy.url]) { old, _ in old }
        let reply = try await send(HTTPRequest("GET", server.url), environment)
        #expect(reply.body == Array("direct".utf8))
        #expect(proxy.connections == 0)
    }

    @Test func aRequestMayRefuseTheProxy() async throws {
        let proxy = try proxy()
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "direct") })
        let request = HTTPRequest("GET", server.url, usesProxy: false)
        let reply = try await send(request, ["http_proxy": proxy.url, "all_proxy": proxy.url])
        #expect(reply.body == Array("direct".utf8))
        #expect(proxy.connections == 0)
    }

    @Test func theUppercaseNameOfACGIHeaderIsNotBelieved() async throws {
        let proxy = try proxy()
        let server = try ScriptedServer(answering: { _ in ScriptedReply(200, text: "direct") })
        let reply = try await send(HTTPRequest("GET", server.url), ["HTTP_PROXY": proxy.url])
        #expect(reply.body == Array("direct".utf8))
        #expect(proxy.connections == 0)
    }

    @Test func httpsGoesThroughATunnelThatSeesNoCredentials() async throws {
        let proxy = try proxy()
        let authority = try TestAuthority()
        let server = try authority.server(.good)
        let headers: HTTPHeaders = [("Authorization", "Bearer secret")]
        let request = HTTPRequest("GET", server.url, headers: headers)
        let environment = ["HTTPS_PROXY": proxy.url]
        let reply = try await send(request, environment, certificateFile: authority.file)
        #expect(reply.status == 200)
        #expect(reply.headers["x-proxy"] == nil)
        let seen = try #require(proxy.requests.first)
        #expect(seen.method == "CONNECT")
        #expect(seen.target == "127.0.0.1:\(server.port)")
        #expect(seen["authorization"] == nil)
    }

    @Test func aRefusedTunnelIsNoConnection() async throws {
        let proxy = try proxy()
        let url = proxy.url.replacing("http://", with: "http://user:secret@")
        try await withEngine(plain { $0.proxies = ProxySettings(https: url) }) { engine in
            let failure = await engine.failure(of: HTTPRequest("GET", "https://127.0.0.1:1/"))
            #expect(failure?.code == .connect)
            #expect(failure?.message.contains("403") == true)
            #expect(failure?.message.contains("secret") == false)
        }
        #expect(proxy.requests.first?["proxy-authorization"] != nil)
    }
}
