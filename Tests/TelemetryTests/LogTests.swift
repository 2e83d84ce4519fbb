import Foundation
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

private struct FixedTime: TimeSource {
    func now() -> MonotonicInstant { MonotonicInstant(nanoseconds: 0) }
    func timeOfDay() -> UnixTime { UnixTime(seconds: 0) }
    func sleep(for duration: Duration) async throws(CancellationError) {}
}

private func written(
    _ format: LogFormat = .text,
    threshold: LogLevel? = .trace,
    _ body: (Log) -> Void
) -> [String] {
    let sink = MemoryLogSink()
    body(Log(threshold: threshold, format: format, sink: sink, time: FixedTime()))
    return sink.lines
}

struct LogTests {
    @Test("a line of text")
    func text() {
        let lines = written {
            $0.with(["store": "gs://b"]).info("part uploaded", ["size": 3, "last": true, "rate": 0.5])
        }
        #expect(
            lines == [
                "time=1970-01-01T00:00:00.000Z level=info event=\"part uploaded\" store=gs://b size=3 last=true rate=0.5"
            ]
        )
    }

    @Test("a line of JSON")
    func json() throws {
        let lines = written(.json) {
            $0.error("upload failed", ["object": "a\"b\n", "size": -3, "rate": .number(.nan)])
        }
        let object = try JSONSerialization.jsonObject(with: Data(try #require(lines.first).utf8))
        let fields = try #require(object as? [String: Any])
        #expect(fields["event"] as? String == "upload failed")
        #expect(fields["level"] as? String == "error")
        #expect(fields["object"] as? String == "a\"b\n")
        #expect(fields["size"] as? Int == -3)
        #expect(fields["rate"] as? String == "nan")
    }

    @Test("levels below the threshold are not written, and their fields not made", arguments: LogLevel.allCases)
    func thresholds(threshold: LogLevel) {
        var made = 0
        func field() -> LogValue {
            made += 1
            return .integer(made)
        }
        let lines = written(threshold: threshold) { log in
            for level in LogLevel.allCases { log.write(level, "event", ["n": field()]) }
        }
        let expected = LogLevel.allCases.filter { $0 <= threshold }
        #expect(lines.count == expected.count)
        #expect(made == expected.count)
        #expect(written(threshold: nil) { $0.error("event") }.isEmpty)
    }

    @Test(
        "no value can start a line, end its quotes or drive a terminal",
        arguments: [
            "a\nlevel=error event=forged", "a\r\nb", "\u{1B}[2J", "\u{202E}gpj.exe", "\u{2028}x", "\u{85}", "\" x=\"y",
            "\\", "\u{7F}\0",
        ],
        LogFormat.allCases
    )
    func hostileValues(value: String, format: LogFormat) throws {
        let line = try #require(written(format) { $0.info("read", ["object": .text(value)]) }.first)
        #expect(!line.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) })
        #expect(!line.unicodeScalars.contains { [0x2028, 0x2029, 0x202E].contains($0.value) })
        let quoted = try #require(
            format == .json
                ? line.range(of: "\"object\":").map { String(line[$0.upperBound...].dropLast()) }
                : line.range(of: "object=").map { String(line[$0.upperBound...]) }
        )
        let decoded = try JSONSerialization.jsonObject(with: Data(quoted.utf8), options: .fragmentsAllowed)
        #expect(decoded as? String == value)
    }

    @Test("a key that is no key cannot break the line either")
    func hostileKey() {
        let lines = written { $0.info("e", ["a b=\"\n": "v"]) }
        #expect(lines == ["time=1970-01-01T00:00:00.000Z level=info event=e a_b___=v"])
    }

    @Test("a value that is too long is cut, and says so")
    func longValues() throws {
        let line = try #require(written { $0.info("e", ["v": .text(String(repeating: "x", count: 1 << 20))]) }.first)
        #expect(line.hasSuffix("x...(cut)\""))
        #expect(line.utf8.count < LogFormat.maximumValueLength + 200)
    }

    @Test("random text of any kind gives one line of valid JSON", arguments: 0..<8 as Range<UInt64>)
    func randomText(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            let value = String(decoding: random.bytes(Int.random(in: 0...60, using: &random)), as: UTF8.self)
            let line = try #require(written(.json) { $0.info("e", ["v": .text(value)]) }.first)
            #expect(!line.contains("\n"))
            #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "\(line)")
        }
    }
}
