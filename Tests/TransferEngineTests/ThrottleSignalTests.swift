import LinuxPlatform
import Testing
import TransferEngine

struct ThrottleSignalTests {
    @Test func itLowersTheLimitOfTheGateThatListens() {
        let signal = ThrottleSignal()
        signal.fire()
        let now = SystemTime().now()
        let gate = ConcurrencyGate(AdaptiveConcurrency(initial: 16, maximum: 32, now: now), time: SystemTime())
        signal.listen { gate.throttled() }
        #expect(gate.limit == 16)
        signal.fire()
        #expect(gate.limit == 8)
    }
}
