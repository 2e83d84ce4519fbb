import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct HTTPDateTests {
    private let date = "Sun, 06 Nov 1994 08:49:37 GMT"

    @Test func datesAreRead() {
        #expect(HTTPDate.parse(date) == UnixTime(seconds: 784_111_777))
        #expect(HTTPDate.parse("Mon, 24 Nov 2025 16:00:00 GMT") == UnixTime(seconds: 1_764_000_000))
        #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 CET") == nil)
        #expect(HTTPDate.parse("Sun, 06 Nov 1994 25:49:37 GMT") == nil)
        #expect(HTTPDate.parse("yesterday") == nil)
    }

    @Test func repliesSayWhenTheyWereMade() {
        let headers: HTTPHeaders = [("date", date)]
        #expect(headers.date == UnixTime(seconds: 784_111_777))
        #expect(HTTPHeaders().date == nil)
    }

    private func retryAfter(_ value: String, date: String? = nil) -> Duration? {
        var headers: HTTPHeaders = [("Retry-After", value)]
        if let date { headers.append("Date", date) }
        return headers.retryAfter
    }

    @Test func retryAfterIsSecondsOrADate() {
        #expect(retryAfter("12") == .seconds(12))
        #expect(retryAfter("999999999") == .seconds(86_400))
        #expect(retryAfter("soon") == nil)
        #expect(retryAfter("-5") == nil)
        #expect(HTTPHeaders().retryAfter == nil)
    }

    @Test func aDateToRetryAfterCountsByTheServersClock() {
        #expect(retryAfter(date, date: "Sun, 06 Nov 1994 08:48:20 GMT") == .seconds(77))
        #expect(retryAfter(date, date: "Sun, 06 Nov 1994 08:50:00 GMT") == .zero)
        #expect(retryAfter("Fri, 06 Nov 2094 08:49:37 GMT", date: date) == .seconds(86_400))
        #expect(retryAfter(date) == nil)
    }

    @Test func nothingMakesItTrap() {
        var random = SeededRandom(seed: 72)
        for _ in 0..<2000 {
            var bytes = Array(date.utf8)
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...127, using: &random)
            _ = retryAfter(String(decoding: bytes, as: UTF8.self), date: date)
        }
    }
}
