import TestSupport
import Testing

@testable import HTTPEngine

@Suite struct ReplyHeadParserTests {
    /// Feeds lines and gives the first head or violation.
    private func parse(_ lines: [[UInt8]]) -> ReplyHeadParser.Event {
        var parser = ReplyHeadParser()
        for line in lines {
            let event = line.withUnsafeBytes { parser.take($0) }
            switch event {
            case .more, .began: continue
            case .head, .violation: return event
            }
        }
        return .more
    }

    private func head(_ lines: String...) -> HTTPResponseHead? {
        if case .head(let head) = parse(lines.map { Array($0.utf8) }) { head } else { nil }
    }

    @Test func readsStatusAndFields() throws {
        let reply = try #require(
            head("HTTP/1.1 206 Partial Content\r\n", "A:1\r\n", "B: \t x y \r\n", "a:\r\n", "\r\n")
        )
        #expect(reply.status == 206)
        #expect(reply.headers.fields.map(\.name) == ["A", "B", "a"])
        #expect(reply.headers.fields.map(\.value) == ["1", "x y", ""])
    }

    @Test func readsBareLineFeedsAndNoReason() throws {
        #expect(try #require(head("HTTP/1.0 404\n", "\n")).status == 404)
    }

    @Test func joinsFoldedLines() throws {
        #expect(try #require(head("HTTP/1.1 200 OK\r\n", "A: 1\r\n", "  2\r\n", "\r\n")).headers["a"] == "1 2")
    }

    @Test func passesInterimRepliesOver() throws {
        let reply = try #require(
            head("HTTP/1.1 100 Continue\r\n", "X: 1\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "Y: 2\r\n", "\r\n")
        )
        #expect(reply.status == 200)
        #expect(reply.headers.fields.map(\.name) == ["Y"])
    }

    @Test(arguments: [
        "HTTP/2 200\r\n", "HTTP/1.1 20\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1 099 X\r\n",
        "ICY 200 OK\r\n", "\r\n", "HTTP/1.1 -20 OK\r\n",
    ])
    func refusesStatusLines(line: String) {
        guard case .violation = parse([Array(line.utf8)]) else {
            Issue.record("accepted")
            return
        }
    }

    @Test(arguments: [["name\r\n"], [": value\r\n"], [" folded\r\n"]])
    func refusesFieldLines(lines: [String]) {
        guard case .violation = parse([Array("HTTP/1.1 200 OK\r\n".utf8)] + lines.map { Array($0.utf8) }) else {
            Issue.record("accepted")
            return
        }
    }

    @Test func refusesToSwitchProtocols() {
        guard case .violation = parse([Array("HTTP/1.1 101 Switching\r\n".utf8), Array("\r\n".utf8)]) else {
            Issue.record("accepted")
            return
        }
    }

    @Test func boundsEndlessInterimReplies() {
        let reply = [Array("HTTP/1.1 103 Hints\r\n".utf8), Array("\r\n".utf8)]
        let lines = (0..<20_000).flatMap { _ in reply }
        guard case .violation = parse(lines) else {
            Issue.record("accepted")
            return
        }
    }

    @Test(arguments: 1...300 as ClosedRange<UInt64>)
    func survivesAnyLines(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let seeds = ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n", "A: b\r\n", " c\r\n", "\r\n", ":\r\n", ""].map {
            Array($0.utf8)
        }
        var parser = ReplyHeadParser()
        var heads = 0
        for _ in 0..<50 {
            var line = seeds[Int.random(in: 0..<seeds.count, using: &random)]
            if Int.random(in: 0..<4, using: &random) == 0, !line.isEmpty {
                line[Int.random(in: 0..<line.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            switch line.withUnsafeBytes({ parser.take($0) }) {
            case .head(let head):
                heads += 1
                #expect((200...999).contains(head.status), "seed \(seed)")
                #expect(head.headers.fields.allSatisfy { !$0.name.isEmpty }, "seed \(seed)")
            case .violation(let why): #expect(!why.isEmpty)
            case .more, .began: break
            }
        }
        #expect(heads <= 1, "seed \(seed)")
    }
}
