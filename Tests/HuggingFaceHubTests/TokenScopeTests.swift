import HTTPEngine
import Testing

@testable import HuggingFaceHub

@Suite struct TokenScopeTests {
    @Test func admitsTheTokenToTheHubOnly() throws {
        let scope = TokenScope(endpoint: try #require(WebOrigin(url: "http://127.0.0.1:9001")))
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
