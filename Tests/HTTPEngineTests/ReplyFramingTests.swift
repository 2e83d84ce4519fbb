import CCurl
import LinuxPlatform
import TestSupport
import Testing

@testable import HTTPEngine

@Suite struct ReplyFramingTests {
    /// A download of `count` bytes that has a reply fed to it, and what came of it.
    private final class Exchange {
        let buffer: BufferLease
        let transfer: Transfer
        var framing = ReplyFraming()
        private let room: Int

        init(_ count: Int) {
            room = count
            buffer = BufferLease(size: count + 64)
            buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
            let download = HTTPDownload(HTTPRequest("GET", "http://a/"), into: buffer, at: 0) { head in
                head.status == 200 ? .deliver(count: count) : .collect(limit: 5)
            }
            transfer = Transfer(id: 1, download.request, .download(download), alarm: LoopAlarm()) { _ in }
            _ = transfer.connected()
        }

        /// Feeds bytes as a connection does: into their place where there is one.
        func feed(_ bytes: [UInt8], _ random: inout SeededRandom) {
            var rest = bytes[...]
            while !rest.isEmpty, framing.phase == .head || framing.phase == .body {
                let wanted = Int.random(in: 1...max(1, min(rest.count, 5000)), using: &random)
                if let place = framing.place(in: transfer) {
                    let piece = rest.prefix(min(wanted, place.count))
                    place.copyBytes(from: piece)
                    framing.placed(piece.count, transfer)
                    rest = rest.dropFirst(piece.count)
                } else {
                    Array(rest.prefix(wanted)).withUnsafeBytes { framing.take($0, transfer) }
                    rest = rest.dropFirst(wanted)
                }
            }
        }

        var result: Result<HTTPDownloadResult, HTTPFailure> {
            transfer.outcome(CURLE_OK, CurlFailure.End(text: "", proxyStatus: 0))
        }
        var stayedInside: Bool { buffer.bytes[room...].allSatisfy { $0 == 0xEE } }
    }

    private func reply(_ head: String, _ body: [UInt8]) -> [UInt8] { Array((head + "\r\n\r\n").utf8) + body }

    @Test(arguments: 1...100 as ClosedRange<UInt64>)
    func anyPiecesGiveTheSameBody(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let body = random.bytes(Int.random(in: 0...20_000, using: &random))
        let exchange = Exchange(body.count)
        exchange.feed(
            reply("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: \(body.count)", body),
            &random
        )
        #expect(exchange.framing.phase == .complete)
        #expect(exchange.framing.keepsConnection)
        #expect(try exchange.result.get().delivered == body.count)
        #expect(exchange.buffer.bytes.prefix(body.count).elementsEqual(body))
        #expect(exchange.stayedInside)
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5", "HTTP/1.1 200 OK\r\nContent-Length: +4",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4", "HTTP/1.1 200 OK\r\nContent-Length:",
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999",
    ])
    func whatHasNoPlainLengthIsLeftToOthersUntouched(head: String) {
        var random = SeededRandom(seed: 1)
        let exchange = Exchange(4)
        exchange.feed(reply(head, Array("1234".utf8)), &random)
        #expect(exchange.framing.phase == .unframed)
        #expect(exchange.buffer.bytes.allSatisfy { $0 == 0xEE })
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: Close", "1234"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: x,  close", "1234"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 4", "1234"), ("HTTP/1.1 200 OK\r\nContent-Length: 4", "1234HTTP"),
    ])
    func aConnectionThatMayHoldMoreIsNotUsedAgain(head: String, body: String) throws {
        let exchange = Exchange(4)
        // In one piece, as it comes from a socket.
        reply(head, Array(body.utf8)).withUnsafeBytes { exchange.framing.take($0, exchange.transfer) }
        #expect(exchange.framing.phase == .complete)
        #expect(!exchange.framing.keepsConnection)
        #expect(try exchange.result.get().delivered == 4)
        #expect(exchange.buffer.bytes.prefix(4).elementsEqual("1234".utf8))
        #expect(exchange.stayedInside)
    }

    @Test func aReplyWithoutABodyEndsWithItsHead() throws {
        var random = SeededRandom(seed: 1)
        let exchange = Exchange(4)
        exchange.feed(reply("HTTP/1.1 304 Not Modified\r\nContent-Length: 4", []), &random)
        #expect(exchange.framing.phase == .complete)
        #expect(try exchange.result.get().delivered == 0)
    }

    @Test(arguments: [3, 5])
    func anotherLengthThanThatOfTheRoomIsAFailure(count: Int) {
        var random = SeededRandom(seed: 1)
        let exchange = Exchange(4)
        exchange.feed(reply("HTTP/1.1 200 OK\r\nContent-Length: \(count)", Array("12345".utf8)), &random)
        #expect(exchange.result.failure?.code == (count < 4 ? .bodyTooShort : .bodyTooLong))
        #expect(exchange.stayedInside)
    }

    @Test func anEndlessLineIsRefused() {
        let exchange = Exchange(4)
        let line = [UInt8](repeating: 0x41, count: ReplyHeadParser.limit + 2)
        line.withUnsafeBytes { exchange.framing.take($0, exchange.transfer) }
        #expect(exchange.framing.phase == .aborted)
        #expect(exchange.result.failure?.code == .protocolViolation)
    }

    /// Nonsense between valid pieces: no trap, nothing outside of the room, and an end that is known as one.
    @Test(arguments: 1...300 as ClosedRange<UInt64>)
    func survivesAnything(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bytes = reply(
            "HTTP/1.1 \([200, 404, 204].randomElement(using: &random) ?? 200) X\r\nContent-Length: 9",
            random.bytes(9)
        )
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        let exchange = Exchange(9)
        exchange.feed(bytes, &random)
        #expect(exchange.stayedInside, "seed \(seed)")
        if exchange.framing.phase == .complete, let result = try? exchange.result.get() {
            #expect(result.delivered == (result.head.status == 200 ? 9 : 0), "seed \(seed)")
        }
    }
}
