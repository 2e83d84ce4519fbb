import LinuxPlatform
import TestSupport
import Testing

@testable import AdminEndpoint

@Suite struct RequestParserTests {
    private func parse(_ text: String) -> RequestParser.Step {
        var parser = RequestParser()
        return parser.take(Array(text.utf8))
    }

    @Test func aRequestAsCurlSendsIt() {
        let step = parse("GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")
        #expect(step == .request(AdminRequest(method: "GET", path: "/metrics")))
        let form = "POST /prefetch HTTP/1.1\r\nContent-Length: 6\r\n\r\npath=a"
        #expect(parse(form) == .request(AdminRequest(method: "POST", path: "/prefetch", body: Array("path=a".utf8))))
    }

    @Test func itDoesNotMatterHowTheBytesAreCut() {
        let bytes = Array("POST /prefetch HTTP/1.1\r\nContent-Length: 6\r\nX: y\r\n\r\npath=a".utf8)
        for size in 1...bytes.count {
            var parser = RequestParser()
            var steps: [RequestParser.Step] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                steps.append(parser.take(bytes[start..<min(start + size, bytes.count)]))
            }
            #expect(steps.last == .request(AdminRequest(method: "POST", path: "/prefetch", body: Array("path=a".utf8))))
            #expect(steps.dropLast().allSatisfy { $0 == .more })
        }
    }

    @Test(arguments: [
        ("GET /a HTTP/2\r\n\r\n", 505), ("GET a HTTP/1.1\r\n\r\n", 400), ("GET  /a HTTP/1.1\r\n\r\n", 400),
        ("\r\n\r\n", 400), ("GET /a\u{7F} HTTP/1.1\r\n\r\n", 400), ("GET /a HTTP/1.1\r\nno field\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nA: 1\u{1}\r\n\r\n", 400), ("GET /a HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n", 400),
        ("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST /a HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413),
        ("GET /a HTTP/1.1\r\n" + String(repeating: "A: 1\r\n", count: 65) + "\r\n", 431),
        ("GET /a HTTP/1.1\r\nA: " + String(repeating: "x", count: 9000), 431),
    ])
    func whatIsRefused(text: String, status: Int) {
        guard case .refuse(let found, _) = parse(text) else {
            Issue.record("not refused: \(text.prefix(60))")
            return
        }
        #expect(found == status)
    }

    @Test(arguments: SeedSlice.first(2, ofSoak: 40))
    func nothingRandomTrapsOrGrows(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "GET", " ", "/", "/status.json", "HTTP/1.1", "\r\n", "\n", "\r", ":", "Content-Length", "17", "chunked",
            "Transfer-Encoding", "\u{0}", "é", "?", "%",
        ]
        for _ in 0..<100 {
            var parser = RequestParser()
            var taken = 0
            var isOver = false
            while !isOver, taken < 3 << 20 {
                let bytes =
                    Bool.random(using: &random)
                    ? Array((pieces.randomElement(using: &random) ?? "").utf8)
                    : random.bytes(Int.random(in: 1...400, using: &random))
                taken += bytes.count
                if parser.take(bytes) != .more { isOver = true }
            }
            #expect(isOver, "seed \(seed): more than is allowed was taken")
        }
    }
}

@Suite struct ClientStateTests {
    private let start = MonotonicInstant(nanoseconds: 0)
    private let request = Array("GET /healthz HTTP/1.1\r\n\r\n".utf8)

    @Test func aRequestIsReadAnsweredAndSentInPieces() {
        var client = ClientState(now: start)
        client.received(request[..<5], now: start)
        #expect(client.need == .read)
        client.received(request[5...], now: start)
        #expect(client.need == .answer(AdminRequest(method: "GET", path: "/healthz")))
        let reply = AdminReply(200, "ok")
        client.reply(reply, now: start)
        var sent: [UInt8] = []
        while client.need == .write {
            sent += client.rest.prefix(7)
            client.sent(min(7, client.rest.count), now: start)
        }
        #expect(sent == reply.bytes)
        #expect(client.need == .close)
    }

    @Test func whoIsTooSlowIsToldSoAndThenLeft() {
        var client = ClientState(now: start)
        client.received(request[..<5], now: start)
        client.passed(start.advanced(by: .seconds(9)))
        #expect(client.need == .read)
        client.passed(start.advanced(by: .seconds(10)))
        #expect(client.need == .write)
        #expect(String(decoding: client.rest, as: UTF8.self).hasPrefix("HTTP/1.1 408 "))
        client.passed(start.advanced(by: .seconds(20)))
        #expect(client.need == .close)
    }

    @Test func whoGoesInTheMiddleIsForgotten() {
        var client = ClientState(now: start)
        client.received(request[..<5], now: start)
        client.received([], now: start)
        #expect(client.need == .close)
    }

    @Test func aRefusalIsTheReply() {
        var client = ClientState(now: start)
        client.received(Array("nonsense\r\n\r\n".utf8), now: start)
        #expect(String(decoding: client.rest, as: UTF8.self).hasPrefix("HTTP/1.1 400 "))
    }
}
