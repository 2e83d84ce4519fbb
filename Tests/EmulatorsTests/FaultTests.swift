import TestSupport
import Testing

@testable import Emulators

/// Rules, and what they do to bytes on the wire.
@Suite struct FaultTests {
    private static let content = String(repeating: "0123456789", count: 100_000)

    private func withServer(_ rule: FaultRule, _ body: (Int, EmulatorControl) throws -> Void) throws {
        let control = EmulatorControl()
        let server = try EmulatorServer(name: "gcs", control: control) { request in
            let received = (try? request.body.readAll(limit: 1 << 20)) ?? []
            if request.method == "PUT" { return EmulatorResponse(200, text: String(decoding: received, as: UTF8.self)) }
            var response = EmulatorResponse(request.headers["Range"] == nil ? 200 : 206, text: Self.content)
            response.mediaKey = "k"
            return response
        }
        defer { server.stop() }
        control.add(rule)
        try body(server.port, control)
    }

    private func get(_ port: Int, _ headers: String = "") throws -> (head: String, body: String) {
        let reply = try RawClient.exchange(port, "GET /o HTTP/1.1\r\n\(headers)\r\n")
        guard let cut = Array(reply.utf8).firstIndex(ofSequence: Array("\r\n\r\n".utf8)) else { return (reply, "") }
        return (String(decoding: reply.utf8.prefix(cut), as: UTF8.self), String(reply.utf8.dropFirst(cut + 4)) ?? "")
    }

    @Test func aTruncatedBodyKeepsItsPromise() throws {
        try withServer(FaultRule(.sending { $0.truncateAt = 1000 })) { (port, control) throws in
            let first = try get(port)
            #expect(first.head.contains("Content-Length: 1000000"))
            #expect(first.body == String(Self.content.prefix(1000)))
            #expect(try get(port).body == Self.content)
            #expect(control.mediaBytes["k"] == 1_001_000)
            #expect(control.log.map(\.isWhole) == [false, true])
            #expect(control.log.map(\.bytesSent) == [1000, 1_000_000])
        }
    }

    @Test func aResetAndALostReply() throws {
        let rules = [
            FaultRule(.sending { ($0.truncateAt, $0.resets) = (0, true) }),
            FaultRule(.sending { $0.losesReply = true }),
        ]
        for rule in rules {
            try withServer(rule) { (port, control) throws in
                let client = try RawClient(port: port)
                try client.send("GET /o HTTP/1.1\r\n\r\n")
                #expect(throws: (any Error).self) { while try !client.receive(limit: 1000).isEmpty {} }
                #expect(control.log.count == 1)
            }
        }
    }

    @Test func flippedBits() throws {
        try withServer(FaultRule(.sending { $0.flipBitAt = 500_003 })) { (port, _) throws in
            var expected = Array(Self.content.utf8)
            expected[500_003] ^= 1
            #expect(try Array(get(port).body.utf8) == expected)
        }
        var actions = FaultActions()
        actions.receive.flipBitAt = 2
        try withServer(FaultRule(actions)) { (port, _) throws in
            let reply = try RawClient.exchange(
                port,
                "PUT /o HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
                body: Array("0000".utf8)
            )
            #expect(reply.hasSuffix("\r\n\r\n0010"))
        }
    }

    @Test func wrongAnswers() throws {
        let range = "Range: bytes=0-9\r\n"
        let unavailable = FaultActions.answer(503, headers: ["Retry-After": "7"], body: "later")
        try withServer(FaultRule(unavailable)) { (port, _) throws in
            let reply = try get(port)
            #expect(reply.head.hasPrefix("HTTP/1.1 503 "))
            #expect(reply.head.contains("Retry-After: 7"))
            #expect(reply.body == "later")
        }
        var actions = FaultActions()
        actions.ignoresRange = true
        try withServer(FaultRule(actions)) { (port, _) throws in
            #expect(try get(port, range).head.hasPrefix("HTTP/1.1 200 "))
            #expect(try get(port, range).head.hasPrefix("HTTP/1.1 206 "))
        }
        actions = FaultActions()
        actions.wrongBody = .html
        actions.dropHeaders = ["Content-Type"]
        actions.replaceHeaders = ["Content-Range": "bytes 5-6/7"]
        try withServer(FaultRule(actions)) { (port, _) throws in
            let reply = try get(port, range)
            #expect(reply.body.hasPrefix("<!DOCTYPE html>"))
            #expect(!reply.head.contains("Content-Type"))
            #expect(reply.head.contains("Content-Range: bytes 5-6/7"))
        }
    }

    @Test func aStalledBodyArrivesWhole() throws {
        let actions = FaultActions.sending { sent in
            sent.stallAt = 400_000
            sent.stall = .milliseconds(5)
            sent.latency = .milliseconds(5)
            sent.bytesPerSecond = 100_000_000
        }
        try withServer(FaultRule(actions)) { (port, _) throws in
            let client = try RawClient(port: port)
            try client.send("GET /o HTTP/1.1\r\nConnection: close\r\n\r\n")
            #expect(try client.receiveText().hasSuffix("\r\n\r\n" + Self.content))
        }
    }

    @Test func aStalledBodyThatTheClientGivesUpIsCountedAsFarAsItCame() throws {
        let actions = FaultActions.sending { sent in
            sent.stallAt = 1000
            sent.stall = .seconds(3600)
        }
        try withServer(FaultRule(actions)) { (port, control) throws in
            // The client finishes its side; the server's end says that it has noticed.
            #expect(try get(port).body.utf8.count == 1000)
            #expect(control.log.last?.bytesSent == 1000)
            #expect(control.log.last?.isWhole == false)
        }
    }

    @Test func stopEndsAStall() throws {
        let control = EmulatorControl()
        let server = try EmulatorServer(name: "gcs", control: control) { _ in EmulatorResponse(200, text: Self.content)
        }
        control.add(FaultRule(.sending { ($0.stallAt, $0.stall) = (10, .seconds(3600)) }))
        let client = try RawClient(port: server.port)
        try client.send("GET /o HTTP/1.1\r\n\r\n")
        _ = try client.receive(limit: 100)
        server.stop()
    }

    @Test func rulesChooseTheirRequests() {
        var rule = FaultRule(.answer(503), method: "GET", path: "/o/x")
        rule.server = "gcs"
        rule.pattern = PathPattern("alt=(media|json)$")
        rule.header = ("Range", "bytes=5")
        func matches(
            _ target: String,
            _ method: String = "GET",
            _ server: String = "gcs",
            _ range: String? = "bytes=5-"
        )
            -> Bool
        {
            guard let parsed = RequestTarget(target) else { return false }
            let headers: HeaderFields = range.map { ["Range": $0] } ?? [:]
            return rule.matches(server: server, EmulatorRequest(method: method, target: parsed, headers: headers))
        }
        #expect(matches("/b/o/x?alt=media"))
        #expect(!matches("/b/o/x?alt=mediax"))
        #expect(!matches("/b/o/y?alt=media"))
        #expect(!matches("/b/o/x?alt=media", "HEAD"))
        #expect(!matches("/b/o/x?alt=media", "GET", "hub"))
        #expect(!matches("/b/o/x?alt=media", "GET", "gcs", "bytes=6-"))
        #expect(!matches("/b/o/x?alt=media", "GET", "gcs", nil))
        rule.nth = 3
        rule.times = 2
        #expect((1...6).filter(rule.strikes) == [3, 4])
        rule.times = nil
        rule.probability = 0.5
        let struck = (1...1000).filter(rule.strikes)
        #expect((400...600).contains(struck.count))
        #expect(struck == (1...1000).filter(rule.strikes))
        rule.seed = 1
        #expect(struck != (1...1000).filter(rule.strikes))
    }

    @Test func rulesAsJSON() throws {
        let text =
            #"{"server":"gcs","nth":2,"times":null,"action":{"stallAt":5,"stallMilliseconds":9,"expireSession":410}}"#
        let rule = try FaultRule(json: try #require(JSONValue(parsing: Array(text.utf8))))
        #expect(rule.nth == 2)
        #expect(rule.times == nil)
        #expect(rule.actions.send.stall == .milliseconds(9))
        #expect(rule.actions.service.expiresSession == 410)
        for wrong in [
            "{}", "[]", #"{"action":{"truncatAt":1}}"#, #"{"action":{"truncateAt":-1}}"#,
            #"{"action":{},"pathRegex":"("}"#, #"{"action":{},"probability":2}"#, #"{"action":{"wrongBody":"x"}}"#,
        ] {
            let value = try #require(JSONValue(parsing: Array(wrong.utf8)))
            #expect(throws: FaultRule.InvalidRule.self, "\(wrong)") { try FaultRule(json: value) }
        }
    }

    @Test func whoeverHasTheResponseFindsItInTheLog() throws {
        let control = EmulatorControl()
        let server = try EmulatorServer(name: "gcs", control: control) { _ in
            var response = EmulatorResponse(200, headers: ["Date": "x"], text: "ab")
            response.mediaKey = "k"
            return response
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        let length = responseHead(EmulatorResponse(200, headers: ["Date": "x"], text: "ab"), closes: false).count + 2
        for count in 1...200 {
            try client.send("GET / HTTP/1.1\r\n\r\n")
            #expect(try client.receive(limit: length).count == length)
            #expect(control.log.count == count)
            #expect(control.mediaBytes["k"] == 2 * count)
        }
    }

    @Test func adminRoutes() throws {
        try withServer(FaultRule(.answer(503), path: "/none")) { (port, control) throws in
            let rule = #"{"action":{"status":418}}"#
            let added = try RawClient.exchange(
                port,
                "POST /_emulator/faults HTTP/1.1\r\nContent-Length: \(rule.utf8.count)\r\n\r\n\(rule)"
            )
            #expect(added.hasSuffix("{\"ids\":[2]}"))
            #expect(try get(port, "Authorization: Bearer secret\r\n").head.hasPrefix("HTTP/1.1 418 "))
            let log = try RawClient.exchange(port, "GET /_emulator/log HTTP/1.1\r\n\r\n")
            #expect(log.contains("\"status\":418"))
            #expect(!log.contains("secret"))
            _ = try RawClient.exchange(port, "DELETE /_emulator/faults?id=2 HTTP/1.1\r\n\r\n")
            #expect(control.rules.map(\.number) == [1])
            _ = try RawClient.exchange(port, "POST /_emulator/reset HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            #expect(control.rules.isEmpty && control.log.isEmpty)
        }
    }
}

extension [UInt8] {
    fileprivate func firstIndex(ofSequence part: [UInt8]) -> Int? { indices.first { self[$0...].starts(with: part) } }
}
