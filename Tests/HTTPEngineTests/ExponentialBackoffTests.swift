import HTTPEngine
import Testing

@Suite struct ExponentialBackoffTests {
    @Test func boundsDoubleUpToTheLongest() {
        let backoff = ExponentialBackoff(longest: .seconds(5))
        let pauses = (1...5).map { backoff.pause(afterFailures: $0, random: 1) }
        #expect(pauses == [.seconds(1), .seconds(2), .seconds(4), .seconds(5), .seconds(5)])
    }

    @Test func jitterIsFull() {
        let backoff = ExponentialBackoff(first: .seconds(3), longest: .seconds(60))
        #expect(backoff.pause(afterFailures: 2, random: 0) == .zero)
        #expect(backoff.pause(afterFailures: 2, random: 0.5) == .seconds(3))
    }

    @Test(arguments: [Int.min, -1, 0, 1])
    func nothingBeforeTheFirstFailureIsShorter(_ failures: Int) {
        let backoff = ExponentialBackoff(longest: .seconds(60))
        #expect(backoff.pause(afterFailures: failures, random: 1) == .seconds(1))
    }

    @Test func manyFailuresDoNotOverflow() {
        let backoff = ExponentialBackoff(first: .seconds(3600), longest: .seconds(86_400))
        #expect(backoff.pause(afterFailures: .max, random: 2) == .seconds(86_400))
        #expect(backoff.pause(afterFailures: .max, random: -1) == .zero)
    }
}
