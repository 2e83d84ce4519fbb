import Glibc
import LinuxPlatform
import Testing

@testable import Emulators

/// Says back what it was sent.
private func echo(_ request: inout EmulatorRequest) -> EmulatorResponse {
    guard let body = try? request.body.readAll(limit: 1 << 20) else { return EmulatorResponse(400) }
    return EmulatorResponse(
        200,
        text: "\(request.method) \(request.target.segments) \(String(decoding: body, as: UTF8.self))"
    )
}

private func body(of response: String) -> String {
    response.range(of: "\r\n\r\n").map { String(response[$0.upperBound...]) } ?? ""
}

extension String {
    /// The standard library has no substring search without Foundation that tests of bytes could rely on.
    fileprivate func range(of part: String) -> Range<String.Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(part) { return index..<self.index(index, offsetBy: part.count) }
            index = self.index(after: index)
        }
        return nil
    }
}

@Suite struct EmulatorServerTests {
    @Test func answersPipelinedRequestsInOrder() throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        defer { server.stop() }
        let response = try RawClient.exchange(
            server.port,
            "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\noneGET /b%2Fc HTTP/1.1\r\n\r\n"
        )
        let first = try #require(response.range(of: "POST [\"a\"] one"))
        let second = try #require(response.range(of: "GET [\"b/c\"] "))
        #expect(first.upperBound < second.lowerBound)
    }

    @Test func readsChunkedBodiesWithExtensionsAndTrailers() throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        defer { server.stop() }
        let response = try RawClient.exchange(
            server.port,
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n3\r\nefg\r\n0\r\nT: v\r\n\r\n"
        )
        #expect(body(of: response) == "PUT [\"\"] abcdefg")
    }

    @Test func sendsContinueOnlyWhenTheBodyIsRead() throws {
        let server = try EmulatorServer(name: "test") { request in
            request.method == "PUT" ? echo(&request) : EmulatorResponse(412)
        }
        defer { server.stop() }
        let head = "/ HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        let client = try RawClient(port: server.port)
        try client.send("PUT " + head)
        let interim = "HTTP/1.1 100 Continue\r\n\r\n"
        #expect(String(decoding: try client.receive(limit: interim.utf8.count), as: UTF8.self) == interim)
        try client.send("ok")
        client.finishSending()
        #expect(body(of: try client.receiveText()) == "PUT [\"\"] ok")
        #expect(try RawClient.exchange(server.port, "POST " + head).hasPrefix("HTTP/1.1 412 "))
    }

    @Test func answersHeadWithTheLengthAndNoBody() throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        defer { server.stop() }
        let response = try RawClient.exchange(server.port, "HEAD /x HTTP/1.1\r\n\r\n")
        #expect(response.range(of: "Content-Length: 11\r\n") != nil)
        #expect(body(of: response).isEmpty)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nA B: c\r\n\r\n", 400), ("GET /%zz HTTP/1.1\r\n\r\n", 400),
        ("GET /%FF HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/2.0\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ]) func refusesMalformedHeads(request: String, status: Int) throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        defer { server.stop() }
        #expect(try RawClient.exchange(server.port, request).hasPrefix("HTTP/1.1 \(status) "))
    }

    @Test func refusesAnOverlongHead() throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        defer { server.stop() }
        let long = String(repeating: "x", count: 70_000)
        #expect(
            try RawClient.exchange(server.port, "GET / HTTP/1.1\r\nLong: \(long)\r\n\r\n").hasPrefix("HTTP/1.1 431 ")
        )
    }

    @Test func stopEndsAConnectionThatWaits() throws {
        let server = try EmulatorServer(name: "test", handler: echo)
        let client = try RawClient(port: server.port)
        try client.send("GET / HTTP/1.1\r\n\r\n")
        _ = try client.receive(limit: 1)
        server.stop()
        _ = try client.receive()
        #expect(try client.receive().isEmpty)
    }
}
