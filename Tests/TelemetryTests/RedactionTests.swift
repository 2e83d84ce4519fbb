import Telemetry
import TestSupport
import Testing

struct RedactionTests {
    @Test(
        "fields named like a secret lose their value",
        arguments: [
            "authorization", "Authorization", "proxy_authorization", "token", "hf_token", "accessToken",
            "x-amz-signature",
            "client_secret", "set-cookie", "private_key", "privateKey", "api-key", "APIKEY", "session_uri", "upload_id",
            "password", "signed_url", "credentials",
        ]
    )
    func secretFields(name: String) {
        let sink = MemoryLogSink()
        Log(sink: sink).info("e", ["x": 1])
        Log(sink: sink).with([name: "s3cr3t"]).info("e")
        #expect(Redaction.isSecret(field: name))
        #expect(sink.lines.count == 2)
        #expect(!sink.lines.joined().contains("s3cr3t"))
        #expect(sink.lines[1].contains(Redaction.mark))
    }

    @Test(
        "other fields keep theirs",
        arguments: [
            "object", "generation", "tokenizer", "size", "signatures_checked", "secretary", "key", "url", "etag",
        ]
    )
    func plainFields(name: String) { #expect(!Redaction.isSecret(field: name)) }

    @Test(
        "texts lose queries, users, fragments and tokens, and nothing else",
        arguments: [
            ("https://h/a/b?X-Sig=1&y=2", "https://h/a/b?[redacted]"),
            ("GET https://h/a?sig=1 failed: 403", "GET https://h/a?[redacted] failed: 403"),
            ("\"https://h?a\"", "\"https://h?[redacted]\""),
            ("https://user:pw@h:8/p", "https://[redacted]@h:8/p"),
            ("https://u@x@h/p", "https://[redacted]@h/p"),
            ("https://h/p#access_token=1", "https://h/p#[redacted]"),
            ("/upload/b/o?upload_id=ABC", "/upload/b/o?[redacted]"),
            ("https://h/a?x=https://i/b?y=1", "https://h/a?[redacted]"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("got hf_abcdefghijklmnop.", "got [redacted]"),
            ("ya29.a0AbCdEfGhIjKl-_x", "[redacted]"),
            ("really? yes", "really? yes"),
            ("a/b.safetensors", "a/b.safetensors"),
            ("hf_transfer", "hf_transfer"),
            ("gs://bucket/o", "gs://bucket/o"),
            ("gs://bucket/o#17954: wrong", "gs://bucket/o#17954: wrong"),
            ("gs://bucket/o#17954x", "gs://bucket/o#[redacted]"),
            ("", ""),
        ]
    )
    func texts(text: String, expected: String) { #expect(Redaction.redacted(text) == expected) }

    @Test("a secret in a query never survives, wherever the URL stands", arguments: 0..<8 as Range<UInt64>)
    func randomTexts(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "https://", "h", "/p", "?", "#", "@", "a=b", "&", " ", "\"", "é", "://", "Bearer ", "\n", "??", "hf_",
        ]
        for _ in 0..<300 {
            var text = ""
            for _ in 0..<Int.random(in: 0...12, using: &random) { text += pieces.randomElement(using: &random) ?? "" }
            let redacted = Redaction.redacted(text + "https://h/p?sig=S3CR3T")
            #expect(!redacted.contains("S3CR3T"), "\(text)")
            _ = Redaction.redacted(String(decoding: random.bytes(40), as: UTF8.self))
        }
    }
}
