import Configuration
import TestSupport
import Testing

@Suite struct QuantityTests {
    @Test(arguments: [
        ("0", 0), ("1", 1), ("64M", 64 << 20), ("64m", 64 << 20), ("64MiB", 64 << 20), ("64Mi", 64 << 20),
        ("64MB", 64 << 20), ("1.5GiB", 3 << 29), ("0.5K", 512), ("100b", 100), ("5T", 5 << 40),
    ])
    func readsSizes(text: String, bytes: Int) {
        #expect(ByteSize(text)?.bytes == bytes)
    }

    @Test(arguments: [
        "", "M", "-1", "+1", "1,5G", "1e3", "0x10", ".5G", "1.G", "1.1K", "64 M", "64Mb2", "9999999999T", "1P", "٣",
        "1.0000000000000001K",
        String(repeating: "9", count: 40), "NaN", "inf",
    ])
    func refusesWhatIsNoSize(text: String) {
        #expect(ByteSize(text) == nil)
    }

    @Test(arguments: [
        ("0", 0), ("30s", 30_000), ("30", 30_000), ("500ms", 500), ("5m", 300_000), ("1.5h", 5_400_000),
        ("7d", 604_800_000),
    ])
    func readsTimes(text: String, milliseconds: Int) {
        #expect(TimeSpan(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: ["", "s", "-5s", "5 s", "5S", "1w", "0.5ms", "99999d", "1h30m"])
    func refusesWhatIsNoTime(text: String) {
        #expect(TimeSpan(text) == nil)
    }

    @Test(arguments: 0..<200) func whatIsShownIsReadAgain(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let number = Int(random.next() % 1_000_000_000)
        let size = ByteSize(bytes: number << Int(random.next() % 30))
        #expect(ByteSize(size.description) == size || size.bytes >= 1_000_000_000_000_000)
        let time = TimeSpan(milliseconds: Int(random.next() % 300_000_000_000))
        #expect(TimeSpan(time.description) == time)
    }

    @Test func exitStatusesAreFixed() {
        #expect(ExitStatus.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 7, 130])
    }
}
