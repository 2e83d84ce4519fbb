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

@Suite struct WebOriginTests {
    @Test(
        arguments: [
            ("https://Example.com/a?b", "https://example.com"), ("http://h:8080", "http://h:8080"),
            ("https://h:443/x", "https://h"), ("http://[::1]:9/x", "http://[::1]:9"), ("HTTP://h#f", "http://h"),
        ]
    )
    func originsAreRead(_ url: String, _ origin: String) { #expect(WebOrigin(url: url)?.description == origin) }

    @Test(
        arguments: [
            "", "h", "ftp://h", "http://", "http://u@h", "http://u:p@h/", "http://h\\@x/", "http://h:0",
            "http://h:70000",
            "http://h:x", "http://a b", "http://h:+80", "http://[::1", "http://[g]", "http://h%2e", "https:///x",
            "http://é",
        ]
    )
    func nonsenseHasNone(_ url: String) { #expect(WebOrigin(url: url) == nil) }

    @Test func secretsGoToEncryptedOrLocalPlaces() {
        for url in ["https://h", "http://localhost:1", "http://127.0.0.1", "http://127.1.2.3:4", "http://[::1]"] {
            #expect(WebOrigin(url: url)?.mayReceiveSecrets == true)
        }
        for url in [
            "http://h", "http://127.0.0.1.evil.example", "http://127.evil", "http://localhost.evil", "http://10.0.0.1",
        ] {
            #expect(WebOrigin(url: url)?.mayReceiveSecrets == false)
        }
    }

    @Test func pathsAreTheRest() {
        #expect(WebOrigin.path(of: "https://h:1/a/b?c=d") == "/a/b?c=d")
        #expect(WebOrigin.path(of: "https://h") == "")
        #expect(WebOrigin.path(of: "x") == nil)
    }

    @Test func nothingMakesItTrap() {
        var random = SeededRandom(seed: 81)
        let seed = Array("https://[::1]:8080/a?b#c@d".utf8)
        for _ in 0..<3000 {
            var bytes = seed
            for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(random.next() & 0x7F) }
            let url = String(decoding: bytes, as: UTF8.self)
            guard let origin = WebOrigin(url: url) else { continue }
            // What is read reads back the same.
            #expect(WebOrigin(url: origin.description) == origin)
        }
    }
}

@Suite struct EncodingTests {
    @Test func formsEscapeEverythingElse() {
        let encoded = FormEncoding.encode([(name: "grant type", value: "urn:x&y=z+é")])
        #expect(String(decoding: encoded, as: UTF8.self) == "grant%20type=urn%3Ax%26y%3Dz%2B%C3%A9")
    }
}
