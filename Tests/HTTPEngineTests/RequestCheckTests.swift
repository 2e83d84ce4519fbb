import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

@Suite struct RequestCheckTests {
    private static let good = "http://127.0.0.1:9/"

    private func refusal(_ request: HTTPRequest) async throws -> HTTPFailure? {
        try await withEngine { await $0.failure(of: request) }
    }

    @Test(arguments: [
        "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "127.0.0.1/x", "", "http://", "http:///x",
        "http://user@/x", "https:example", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nHost: other",
        "http://127.0.0.1/a\nb", "http://127.0.0.1/a\0b", "http://127.0.0.1/\u{E9}", "//127.0.0.1/",
        "http://127.0.0.1:99999999/", "http://127.0.0.1:port/", "http://[::1/",
        "http://127.0.0.1/" + String(repeating: "a", count: 40_000),
    ])
    func refusesURLs(url: String) async throws {
        let failure = try await refusal(HTTPRequest("GET", url))
        #expect(failure?.code == .invalidRequest)
        #expect(failure?.message.contains(where: \.isNewline) == false)
    }

    @Test(arguments: ["", "GET /", "GET\r\nX: y", "G\0T", "GÉT", String(repeating: "A", count: 33)])
    func refusesMethods(method: String) async throws {
        #expect(try await refusal(HTTPRequest(method, Self.good))?.code == .invalidRequest)
    }

    @Test(arguments: [
        ("X", "a\r\nInjected: yes"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0b"), ("X", "a\u{7F}"), ("X\r\nY", "a"),
        ("X:", "a"), ("", "a"), ("X Y", "a"), ("Transfer-Encoding", "chunked"), ("Content-Length", "5"),
        ("content-length", "-1"),
    ])
    func refusesHeaders(name: String, value: String) async throws {
        let failure = try await refusal(HTTPRequest("GET", Self.good, headers: [(name, value)]))
        #expect(failure?.code == .invalidRequest)
        #expect(failure?.message.contains("Injected") == false)
    }

    @Test(arguments: [
        ("https://h/p?X-Goog-Signature=secret#secret", "https://h/p"),
        ("https://user:secret@h:8080/p", "https://h:8080/p"),
        ("https://user:sec@ret@h/p", "https://h/p"),
        ("https://user:sec?ret@h/p", "https://(host)"),
        ("https://user:sec/ret@h/p", "https://(host)/ret@h/p"),
        ("http://h?x=secret@y", "http://(host)"),
        ("http://[::1]:80/a/../b", "http://[::1]:80/a/../b"),
        ("http://h/a\r\nb\u{1B}[31m", "http://h/a??b?[31m"),
        ("secret", "(not an absolute URL)"),
    ])
    func showsURLsWithoutSecrets(url: String, shown: String) {
        #expect(HTTPRequest.loggable(url: url) == shown)
    }
}
