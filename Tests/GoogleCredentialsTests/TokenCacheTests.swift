import LinuxPlatform
import TestSupport
import Testing

@testable import GoogleCredentials

@Suite struct TokenCacheTests {
    private let start = MonotonicInstant(nanoseconds: 0)
    private func after(_ seconds: Int) -> MonotonicInstant { start.advanced(by: .seconds(seconds)) }
    private var hour: AccessToken { AccessToken(secret: "t", expiry: after(3600)) }

    private func filled() -> TokenCache {
        var cache = TokenCache()
        _ = cache.request(now: start)
        cache.renewed(hour, now: start)
        return cache
    }

    @Test func theFirstCallerStartsAndAllWait() {
        var cache = TokenCache()
        #expect(cache.request(now: start) == .wait(renew: true))
        #expect(cache.request(now: start) == .wait(renew: false))
    }

    @Test func aFreshTokenIsUsed() {
        var cache = filled()
        #expect(cache.request(now: after(3374)) == .use(hour, renew: false))
    }

    @Test func aStaleTokenIsUsedAndRenewedOnce() {
        var cache = filled()
        #expect(cache.request(now: after(3375)) == .use(hour, renew: true))
        #expect(cache.request(now: after(3376)) == .use(hour, renew: false))
        #expect(cache.request(now: after(3589)) == .use(hour, renew: false))
    }

    @Test func theLastSecondsBlock() {
        var cache = filled()
        #expect(cache.request(now: after(3590)) == .wait(renew: true))
        var renewing = filled()
        _ = renewing.request(now: after(3400))
        #expect(renewing.request(now: after(3595)) == .wait(renew: false))
    }

    @Test func aFailedEarlyRenewalIsNotRepeatedAtOnce() {
        var cache = filled()
        _ = cache.request(now: after(3400))
        cache.failed(now: after(3400))
        #expect(cache.request(now: after(3409)) == .use(hour, renew: false))
        #expect(cache.request(now: after(3410)) == .use(hour, renew: true))
    }

    @Test func theSameTokenAgainIsNotAskedForAtOnce() {
        var cache = filled()
        _ = cache.request(now: after(3380))
        cache.renewed(hour, now: after(3380))
        #expect(cache.request(now: after(3381)) == .use(hour, renew: false))
    }

    @Test func aFailedFirstFetchIsTriedAgainByTheNextCaller() {
        var cache = TokenCache()
        _ = cache.request(now: start)
        cache.failed(now: start)
        #expect(cache.request(now: start) == .wait(renew: true))
    }

    @Test func onlyTheRefusedTokenIsForgotten() {
        var cache = filled()
        cache.invalidate(secret: "another")
        #expect(cache.request(now: start) == .use(hour, renew: false))
        cache.invalidate(secret: "t")
        #expect(cache.request(now: start) == .wait(renew: true))
    }

    @Test func aTokenWithoutEndIsUsedForever() {
        var cache = TokenCache()
        let token = AccessToken(secret: "t", expiry: nil)
        cache.renewed(token, now: start)
        #expect(cache.request(now: .distantFuture) == .use(token, renew: false))
    }

    @Test func tokensDescribeNothing() {
        var text = "\(hour) \(String(reflecting: hour))"
        dump(AccessToken(secret: "SECRET", expiry: nil), to: &text)
        #expect(!text.contains("SECRET"))
    }
}

@Suite struct EncodingTests {
    @Test func formsEscapeEverythingElse() {
        let encoded = FormEncoding.encode([(name: "grant type", value: "urn:x&y=z+é")])
        #expect(String(decoding: encoded, as: UTF8.self) == "grant%20type=urn%3Ax%26y%3Dz%2B%C3%A9")
    }
}
