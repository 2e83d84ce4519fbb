import HTTPEngine
import TestSupport
import Testing

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
            "http://é", "//h", "http:///x", "http://huggingface.co\\@evil.test/", "file:///etc/passwd",
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

    @Test func portsAreFilledInAndCaseIsIgnored() {
        #expect(WebOrigin(url: "HTTPS://HuggingFace.co/x") == WebOrigin(url: "https://huggingface.co:443"))
        #expect(WebOrigin(url: "http://h") != WebOrigin(url: "https://h"))
        #expect(WebOrigin(url: "http://h:81") != WebOrigin(url: "http://h"))
        #expect(WebOrigin(url: "http://[::1]:80/x") == WebOrigin(url: "http://[::1]"))
    }

    @Test func theRemainderIsAsWritten() {
        #expect(WebOrigin.remainder(of: "https://h:1/a/b?c=d") == "/a/b?c=d")
        #expect(WebOrigin.remainder(of: "https://h") == "")
        #expect(WebOrigin.remainder(of: "x") == nil)
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

    @Test(arguments: [
        ("http://b/y?z", "http://b/y?z"), ("//b/y", "http://b/y"), ("/y?z=1", "http://a:8/y?z=1"),
        ("?z", "http://a:8/d/x?z"),
        ("y", "http://a:8/d/y"),
    ])
    func resolvesReferences(_ reference: String, _ expected: String) {
        #expect(WebOrigin.resolve(reference, against: "http://a:8/d/x?q") == expected)
    }

    @Test(arguments: ["ftp://b", "javascript:alert(1)", "", "data:,x", "/a b", "http://u:p@b/"])
    func resolvesNothingElse(_ reference: String) {
        #expect(WebOrigin.resolve(reference, against: "http://a/d/x") == nil)
    }
}
