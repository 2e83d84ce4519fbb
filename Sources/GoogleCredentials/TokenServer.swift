import HTTPEngine
import LinuxPlatform

/// Something that makes access tokens of one credential.
protocol TokenProvider: Sendable {
    /// Which credential, for whom; free of secrets.
    var label: String { get }
    /// A new token. Retries what is transient; ends in bounded time.
    func fetch() async throws(CredentialError) -> AccessToken
    /// False once the last token was made of something that has changed since.
    func isCurrent() -> Bool
}

extension TokenProvider {
    func isCurrent() -> Bool { true }
}

/// How token servers are talked to: one request, retried while that makes sense.
struct TokenServer: Sendable {
    /// A request that holds secrets, and what to call the other side in errors.
    struct Call: Sendable {
        var method = "POST"
        var url: String
        var headers: HTTPHeaders = []
        var body: [UInt8]?
        /// Of whom a token is wanted: the subject of an error's sentence.
        var label: String
        /// Removed from whatever the server says before it is shown.
        var secrets: [String] = []
        var usesProxy = true
        /// Statuses that are worth another try besides the usual ones.
        var alsoRetried: Set<Int> = []
        var attempts = 5
        var timeout: Duration = .seconds(20)
    }

    static let replyLimit = 1 << 20

    let transport: any HTTPTransport
    let time: any TimeSource

    /// A reply with status 200.
    func send(_ call: Call) async throws(CredentialError) -> HTTPResponse {
        var failure = CredentialError(.unavailable, "\(call.label): no attempt was made")
        for attempt in 0..<call.attempts {
            if attempt > 0 { try await pause(before: attempt, call) }
            switch await sendOnce(call) {
            case .success(let response): return response
            case .failure(let error) where error.code == .unavailable: failure = error
            case .failure(let error): throw error
            }
        }
        throw failure
    }

    /// A form, as OAuth 2.0 has it (RFC 6749, section 4); the reply's access token.
    func requestToken(
        _ url: String,
        _ fields: [(name: String, value: String)],
        headers: HTTPHeaders = [],
        label: String,
        secrets: [String]
    ) async throws(CredentialError) -> AccessToken {
        var headers = headers
        headers.set("Content-Type", "application/x-www-form-urlencoded")
        let body = FormEncoding.encode(fields)
        let started = time.now()
        let call = Call(url: url, headers: headers, body: body, label: label, secrets: secrets)
        return try accessToken(in: try await send(call), started: started, label: label)
    }

    /// Reads the reply of RFC 6749, section 5.1. Its life counts from before the request was sent.
    func accessToken(
        in response: HTTPResponse,
        started: MonotonicInstant,
        label: String
    ) throws(CredentialError) -> AccessToken {
        struct Reply: Decodable {
            var accessToken: String
            var expiresIn: LenientInteger?
            var tokenType: String?
        }
        guard let reply = JSONText.decode(Reply.self, from: response.body), AccessToken.isSendable(reply.accessToken)
        else { throw CredentialError(.refused, "\(label): the token server's reply holds no access token") }
        if let type = reply.tokenType, !type.equalsIgnoringCase("Bearer") {
            throw CredentialError(.refused, "\(label): the token server gave a token that is not of type Bearer")
        }
        let life = min(max(reply.expiresIn?.value ?? 3600, 0), 86_400)
        return AccessToken(secret: reply.accessToken, expiry: started.advanced(by: .seconds(life)))
    }

    private func sendOnce(_ call: Call) async -> Result<HTTPResponse, CredentialError> {
        var request = HTTPRequest(call.method, call.url, headers: call.headers, usesProxy: call.usesProxy)
        request.body = call.body.map { ByteSegments($0) }
        request.timeouts.connect = min(.seconds(10), call.timeout)
        request.timeouts.firstByte = call.timeout
        request.timeouts.deadline = time.now().advanced(by: call.timeout)
        do {
            let response = try await transport.send(request, limit: Self.replyLimit)
            if response.status == 200 { return .success(response) }
            return .failure(TokenServerReply.error(response, call))
        } catch {
            let isFinal = error.code == .tls || error.code == .invalidRequest || error.code == .bodyTooLong
            let code: CredentialError.Code = error.code == .cancelled ? .cancelled : isFinal ? .refused : .unavailable
            return .failure(CredentialError(code, "\(call.label): \(error.message)"))
        }
    }

    private func pause(before attempt: Int, _ call: Call) async throws(CredentialError) {
        let backoff = ExponentialBackoff(longest: .seconds(8))
        do {
            try await time.sleep(for: backoff.pause(afterFailures: attempt, random: .random(in: 0...1)))
        } catch {
            throw CredentialError(.cancelled, "\(call.label): cancelled")
        }
    }
}

/// What a token server's refusal means.
enum TokenServerReply {
    private struct Document: Decodable {
        struct Status: Decodable {
            var message: String?
            var status: String?
        }
        var error: String?
        var description: String?

        enum CodingKeys: CodingKey {
            case error
            case errorDescription
        }

        /// `error` is a word in RFC 6749 and an object in Google's APIs.
        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            description = try? container.decode(String.self, forKey: .errorDescription)
            error = try? container.decode(String.self, forKey: .error)
            if error == nil, let status = try? container.decode(Status.self, forKey: .error) {
                error = status.status
                description = status.message
            }
        }
    }

    static func error(_ response: HTTPResponse, _ call: TokenServer.Call) -> CredentialError {
        let document = JSONText.decode(Document.self, from: response.body)
        let word = document?.error.map { shown($0, call.secrets) }
        var text = "\(call.label): the token server answered HTTP \(response.status)"
        if let word { text += ", \(word)" }
        if let description = document?.description { text += ": \(shown(description, call.secrets))" }
        if word == "invalid_grant" {
            text += ". The credential is revoked, expired or for another issuer, or this machine's clock is wrong"
        }
        let words: Set = ["internal_failure", "server_error", "temporarily_unavailable"]
        let isTransient =
            [408, 429, 500, 502, 503, 504].contains(response.status) || call.alsoRetried.contains(response.status)
            || word.map(words.contains) == true
        return CredentialError(isTransient ? .unavailable : .refused, text)
    }

    /// At most 300 printable characters, without the secrets that were sent.
    static func shown(_ text: String, _ secrets: [String]) -> String {
        var shown = text
        for secret in secrets where !secret.isEmpty { shown = removing(secret, from: shown) }
        let scalars = shown.unicodeScalars.prefix(300).map { $0.value < 32 || $0.value == 127 ? "?" : String($0) }
        return scalars.joined()
    }

    private static func removing(_ secret: String, from text: String) -> String {
        let needle = Array(secret.utf8)
        let bytes = Array(text.utf8)
        var kept: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index...].starts(with: needle) {
                kept += Array("(redacted)".utf8)
                index += needle.count
            } else {
                kept.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: kept, as: UTF8.self)
    }
}
