import HTTPEngine
import LinuxPlatform
import ObjectStorage

/// One operation on the API, before credentials and attempts.
struct StorageRequest: Sendable {
    var method: String
    /// Below the endpoint, beginning with `/`, with its query.
    var target: String
    /// An upload session's own URL instead of `target`: a secret.
    var sessionURL: String?
    var headers: HTTPHeaders = []
    var body: ByteSegments?
    var repeatability: Repeatability
    /// The longest reply that makes sense.
    var replyLimit = 4 << 20
    /// What an error's sentence is about, for example `gs://bucket/name`.
    var subject: String

    init(
        _ method: String,
        _ target: String,
        _ repeatability: Repeatability = .always,
        subject: String
    ) {
        self.method = method
        self.target = target
        self.repeatability = repeatability
        self.subject = subject
    }

    /// Whether it opens or uses an upload session. Then the server's name for the request, `X-GUploader-UploadID`, is the
    /// secret part of the session's URL.
    var isOfUploadSession: Bool { sessionURL != nil || target.contains("uploadType=resumable") }

    mutating func setJSON(_ document: some Encodable) {
        headers.set("Content-Type", "application/json; charset=UTF-8")
        body = ByteSegments(JSONValues.encode(document))
    }
}

/// The end of an operation with all its attempts.
struct StorageOutcome: Sendable {
    /// A reply below 300 or 308, or the error.
    var result: Result<HTTPResponse, ObjectStoreError>
    /// The reply that was an error, where there was one.
    var refusal: HTTPResponse?
    /// An attempt before the last failed in a way that may have been a success.
    var followsAmbiguity: Bool
}

/// The identity of one operation over all its attempts.
///
/// Source: the official clients' `x-goog-api-client` and `x-goog-gcs-idempotency-token`.
struct Invocation: Sendable {
    let id: String

    init() {
        var generator = SystemRandomNumberGenerator()
        self.init(high: generator.next(), low: generator.next())
    }

    /// A version 4 UUID (RFC 9562, section 5.4) of random bits.
    init(high: UInt64, low: UInt64) {
        let first = hexadecimal(high & ~0xF000 | 0x4000)
        let second = hexadecimal(low & ~(0b11 << 62) | 0b10 << 62)
        id = [
            first.prefix(8), first.dropFirst(8).prefix(4), first.dropFirst(12), second.prefix(4), second.dropFirst(4),
        ]
        .joined(separator: "-")
    }

    func addHeaders(to headers: inout HTTPHeaders, attempt: Int, userAgent: String) {
        headers.set("User-Agent", userAgent)
        headers.set(
            "x-goog-api-client",
            "gl-swift/6.3 gccl/0.1.0 gccl-invocation-id/\(id) gccl-attempt-count/\(attempt)"
        )
        headers.set("x-goog-gcs-idempotency-token", id)
    }
}

private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
