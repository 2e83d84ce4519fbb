/// What is kept of one request. No secret: a token appears only as a short fingerprint.
package struct LoggedRequest: Sendable, Equatable {
    /// Counts from 1, over all servers of one control.
    package fileprivate(set) var number = 0
    package let server: String
    package let method: String
    /// Path and query as they came; the values of `upload_id`, signatures and tokens are replaced by `REDACTED`.
    package let target: String
    /// Header fields of interest, with lower-case names.
    package let headers: [String: String]
    /// A fingerprint of the `Authorization` value; nil when there was none. Equal values have equal fingerprints.
    package let authorization: String?
    package internal(set) var status = 0
    /// Bytes of the response's body that went out.
    package internal(set) var bytesSent = 0
    /// Bytes of the request's body that came in.
    package internal(set) var bytesReceived = 0
    /// Whether the whole response went out.
    package internal(set) var isWhole = false
    let isAdministrative: Bool
    var mediaKey: String?

    init(server: String, request: EmulatorRequest) {
        self.server = server
        method = request.method
        target = redacted(request.target)
        var kept: [String: String] = [:]
        for name in Self.interesting { kept[name] = request.headers[name] }
        headers = kept
        authorization = request.headers["Authorization"].map(fingerprint)
        isAdministrative = request.target.segments.first == "_emulator"
    }

    private static let interesting = [
        "accept-encoding", "content-length", "content-range", "content-type", "host", "if-match", "if-none-match",
        "if-range", "range", "transfer-encoding", "user-agent", "x-goog-hash", "x-goog-if-generation-match",
        "x-goog-user-project", "x-goog-gcs-idempotency-token", "x-goog-api-client", "metadata-flavor",
    ]
}

/// The log and the counters of served media, bounded.
struct RequestRecorder {
    /// How many requests are kept.
    static let capacity = 100_000
    private(set) var requests: [LoggedRequest] = []
    private(set) var mediaBytes: [String: Int] = [:]
    private var count = 0

    /// Numbers go on: a response that is being sent now must not correct a later request.
    mutating func reset() {
        requests = []
        mediaBytes = [:]
    }

    mutating func begin(_ request: LoggedRequest) -> Int {
        var request = request
        count += 1
        request.number = count
        if requests.count >= Self.capacity { requests.removeFirst(Self.capacity / 10) }
        requests.append(request)
        if let key = request.mediaKey { mediaBytes[key, default: 0] += request.bytesSent }
        return count
    }

    /// Does nothing when the request was dropped or the log reset meanwhile.
    mutating func finish(_ number: Int, sent: Int, isWhole: Bool) {
        guard let first = requests.first?.number, requests.indices.contains(number - first) else { return }
        let index = number - first
        if let key = requests[index].mediaKey { mediaBytes[key, default: 0] += sent - requests[index].bytesSent }
        requests[index].bytesSent = sent
        requests[index].isWhole = isWhole
    }
}

/// FNV-1a, 64 bits: tells values apart in a log without giving them away to its readers' eyes.
private func fingerprint(_ text: String) -> String {
    let hash = text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return String(hash, radix: 16)
}

private func redacted(_ target: RequestTarget) -> String {
    let secret = ["upload_id", "uploadId", "access_token", "X-Goog-Signature", "Signature", "X-Amz-Signature"]
    guard target.query.contains(where: { secret.contains($0.name) }) else { return target.raw }
    let items = target.query.map { item in
        "\(percentEncoded(item.name))=\(secret.contains(item.name) ? "REDACTED" : percentEncoded(item.value))"
    }
    return target.rawPath + "?" + items.joined(separator: "&")
}
