import LinuxPlatform
import Snapshots
import Telemetry
import Testing

struct ConveyanceMeterTests {
    static func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

    @Test func speedIsOfTheLastSeconds() throws {
        var meter = ConveyanceMeter()
        for second in 0...20 { meter.hear(.fetched(100), now: Self.at(Double(second))) }
        let steady = try #require(meter.rate(now: Self.at(20)))
        #expect(abs(steady - 100) < 10)
        let stalled = try #require(meter.rate(now: Self.at(100)))
        #expect(stalled < 15)
    }

    @Test func resumedBytesAreDoneButNotSpeed() {
        var meter = ConveyanceMeter()
        meter.hear(.fetched(10), now: Self.at(0))
        meter.hear(.fetched(10), now: Self.at(1))
        let before = meter.rate(now: Self.at(1))
        meter.hear(.published, now: Self.at(1))
        #expect(meter.rate(now: Self.at(1)) == before)
        #expect(meter.doneBytes == 20)
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (90_868_376, "86.7 MiB"), (5 << 30, "5.00 GiB"),
        (999 << 30, "999 GiB"),
    ])
    func bytesAreReadable(_ count: Int, _ text: String) {
        #expect(HumanReadable.bytes(count) == text)
    }

    @Test func durationsAreReadable() {
        #expect(HumanReadable.duration(.seconds(3)) == "3 s")
        #expect(HumanReadable.duration(.seconds(123)) == "2:03")
        #expect(HumanReadable.duration(.seconds(3723)) == "1:02:03")
    }
}
