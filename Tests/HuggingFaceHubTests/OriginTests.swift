import Testing

@testable import HuggingFaceHub

@Suite struct OriginTests {
    @Test func fillsInPortsAndIgnoresCase() {
        #expect(Origin(url: "HTTPS://HuggingFace.co/x") == Origin(url: "https://huggingface.co:443"))
        #expect(Origin(url: "http://h") != Origin(url: "https://h"))
        #expect(Origin(url: "http://h:81") != Origin(url: "http://h"))
        #expect(Origin(url: "http://[::1]:80/x") == Origin(url: "http://[::1]"))
    }

    @Test(arguments: [
        "", "h", "//h", "ftp://h", "http://", "http:///x", "http://u@h", "http://h:x", "http://h:0", "http://h:70000",
        "http://h x",
        "http://huggingface.co\\@evil.test/", "file:///etc/passwd", "http://h:+80",
    ])
    func refusesOthers(_ url: String) {
        #expect(Origin(url: url) == nil)
    }

    @Test(arguments: [
        ("http://b/y?z", "http://b/y?z"), ("//b/y", "http://b/y"), ("/y?z=1", "http://a:8/y?z=1"),
        ("?z", "http://a:8/d/x?z"),
        ("y", "http://a:8/d/y"),
    ])
    func resolvesReferences(_ reference: String, _ expected: String) {
        #expect(resolveReference(reference, against: "http://a:8/d/x?q") == expected)
    }

    @Test(arguments: ["ftp://b", "javascript:alert(1)", "", "data:,x", "/a b", "http://u:p@b/"])
    func resolvesNothingElse(_ reference: String) {
        #expect(resolveReference(reference, against: "http://a/d/x") == nil)
    }

    @Test func admitsTheTokenToTheHubOnly() throws {
        let scope = TokenScope(endpoint: try #require(Origin(url: "http://127.0.0.1:9001")))
        for url in [
            "http://127.0.0.1:9001/x", "https://huggingface.co/x", "https://hf.co/", "https://hub-ci.huggingface.co/",
        ] {
            #expect(scope.admits(url))
        }
        for url in [
            "http://localhost:9001/x", "http://127.0.0.1:9002/x", "http://huggingface.co/x",
            "https://huggingface.co.evil.test/",
            "https://cdn-lfs.huggingface.co/", "https://127.0.0.1:9001/", "https://huggingface.co:8443/",
            "https://huggingface.co@evil.test/", "not a url",
        ] {
            #expect(!scope.admits(url), "\(url)")
        }
    }
}

@Suite struct RedactionTests {
    @Test func cutsQueriesAndTokens() {
        let text = redacted(
            "GET https://cdn.test/f?Signature=abc&Expires=1 failed (hf_AbC123) at http://u:p@h/x#frag end"
        )
        #expect(text == "GET https://cdn.test/f?*** failed (hf_***) at http://h/x?*** end")
    }

    @Test func keepsTheRest() {
        #expect(redacted("nothing secret? half_time 100%") == "nothing secret? half_time 100%")
        #expect(redacted("") == "")
    }

    @Test func reportsRefusalsWithoutMarkup() {
        let xml =
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message><X>secret</X></Error>"
        #expect(refusalText(Array(xml.utf8)) == "AccessDenied: Request has expired")
        #expect(refusalText(Array("<html><body>x</body></html>".utf8)) == "an HTML page")
        #expect(
            refusalText(Array("<Error><StringToSign>s3cret</StringToSign></Error>".utf8)).contains("s3cret") == false
        )
        #expect(refusalText(Array("Auth failed: invalid range".utf8)) == "Auth failed: invalid range")
    }
}
