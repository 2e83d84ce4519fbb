import HTTPEngine
import LinuxPlatform
import Testing

@testable import GoogleCloudStorage

@Suite struct RetryPolicyTests {
    @Test(arguments: [408, 500, 502, 503, 504, 599])
    func serverFailuresAreAmbiguous(_ status: Int) {
        #expect(RetryPolicy.verdict(status: status, isThrottle: false, .always) == .retry(isAmbiguous: true))
        #expect(RetryPolicy.verdict(status: status, isThrottle: false, .onlyIfRefused) == .fail)
        #expect(RetryPolicy.verdict(status: status, isThrottle: false, .never) == .fail)
    }

    @Test(arguments: [400, 401, 403, 404, 405, 409, 410, 411, 412, 413, 416, 501])
    func refusalsAreFinal(_ status: Int) {
        #expect(RetryPolicy.verdict(status: status, isThrottle: false, .always) == .fail)
    }

    @Test func throttlesWereRefusedForSure() {
        #expect(RetryPolicy.verdict(status: 429, isThrottle: true, .onlyIfRefused) == .retry(isAmbiguous: false))
        #expect(RetryPolicy.verdict(status: 403, isThrottle: true, .onlyIfRefused) == .retry(isAmbiguous: false))
    }

    @Test(arguments: [200, 201, 204, 206, 308])
    func successes(_ status: Int) {
        #expect(RetryPolicy.verdict(status: status, isThrottle: false, .never) == .succeeded)
    }

    @Test(arguments: [HTTPFailure.Code.resolve, .connect])
    func whatNeverLeftIsNotAmbiguous(_ code: HTTPFailure.Code) {
        #expect(RetryPolicy.verdict(failure: code, .onlyIfRefused) == .retry(isAmbiguous: false))
    }

    @Test(arguments: [HTTPFailure.Code.connectionLost, .bodyTooShort, .firstByteTimeout, .stalled])
    func lostConnectionsAreAmbiguous(_ code: HTTPFailure.Code) {
        #expect(RetryPolicy.verdict(failure: code, .always) == .retry(isAmbiguous: true))
        #expect(RetryPolicy.verdict(failure: code, .onlyIfRefused) == .fail)
    }

    @Test(arguments: [HTTPFailure.Code.tls, .bodyTooLong, .cancelled, .invalidRequest, .protocolViolation])
    func otherFailuresAreFinal(_ code: HTTPFailure.Code) {
        #expect(RetryPolicy.verdict(failure: code, .always) == .fail)
    }
}

@Suite struct BackoffTests {
    private let start = MonotonicInstant(nanoseconds: 0)

    @Test func failuresInARowWaitLongerUpToTheLongest() {
        var backoff = Backoff(patience: .seconds(1000), longestPause: .seconds(3), now: start)
        let pauses = (0..<3).map { _ in backoff.pause(now: start, retryAfter: nil, random: 1) }
        #expect(pauses == [.seconds(1), .seconds(2), .seconds(3)])
    }

    @Test func pausesStayShortWhileTheServerAnswersOthers() {
        var backoff = Backoff(
            patience: .seconds(1000),
            firstPause: .milliseconds(25),
            longestPause: .seconds(30),
            now: start
        )
        let pauses = (0..<6).map { _ in
            backoff.pause(now: start, retryAfter: nil, othersSucceed: true, random: 1)
        }
        #expect(pauses == [25, 50, 100, 100, 100, 100].map { .milliseconds($0) })
        // Nobody is answered any more: as many failures as there were.
        #expect(backoff.pause(now: start, retryAfter: nil, random: 1) == .milliseconds(1600))
        // What the server wishes counts in any case.
        #expect(
            backoff.pause(now: start, retryAfter: .seconds(2), othersSucceed: true, random: 1) == .seconds(2)
        )
    }

    @Test func retryAfterIsHonouredAndCapped() {
        var backoff = Backoff(patience: .seconds(1000), longestPause: .seconds(8), now: start)
        #expect(backoff.pause(now: start, retryAfter: .seconds(7), random: 1) == .seconds(7))
        #expect(backoff.pause(now: start, retryAfter: .seconds(500), random: 1) == .seconds(60))
    }

    @Test func theDeadlineEndsIt() {
        var backoff = Backoff(patience: .seconds(10), longestPause: .seconds(8), now: start)
        #expect(backoff.pause(now: start.advanced(by: .seconds(9)), retryAfter: nil, random: 1) == nil)
        backoff.progressed(now: start.advanced(by: .seconds(9)))
        #expect(backoff.pause(now: start.advanced(by: .seconds(9)), retryAfter: nil, random: 1) == .seconds(1))
    }
}
