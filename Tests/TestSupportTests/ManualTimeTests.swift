import LinuxPlatform
import TestSupport
import Testing

struct ManualTimeTests {
    @Test("a sleep ends when the clock was moved far enough")
    func sleepers() async throws {
        let time = ManualTime()
        let start = time.now()
        let task = Task { try await time.sleep(for: .seconds(5)) }
        await time.waitForSleepers()
        time.advance(by: .seconds(4))
        time.advance(by: .seconds(1))
        try await task.value
        #expect(start.duration(to: time.now()) == .seconds(5))
        #expect(time.sleeps == [.seconds(5)])
    }

    @Test("a cancelled sleep ends at once")
    func cancelledSleep() async {
        let time = ManualTime()
        let task = Task { try await time.sleep(for: .seconds(5)) }
        await time.waitForSleepers()
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("a clock that moves by itself makes sleeping free")
    func advancesOnSleep() async throws {
        let time = ManualTime(advancesOnSleep: true)
        let before = time.timeOfDay()
        try await time.sleep(for: .seconds(3600))
        #expect(before.duration(to: time.timeOfDay()) == .seconds(3600))
    }

    @Test("the time of day can jump alone")
    func jump() {
        let time = ManualTime()
        let (now, day) = (time.now(), time.timeOfDay())
        time.jumpTimeOfDay(by: .seconds(-60))
        #expect(time.now() == now)
        #expect(time.timeOfDay() < day)
    }

    @Test("SplitMix64 gives its published numbers")
    func seededRandom() {
        var random = SeededRandom(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
        #expect(random.bytes(13).count == 13)
    }
}
