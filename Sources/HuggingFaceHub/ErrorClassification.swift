import FoundationEssentials
package import HTTPEngine

/// What was asked for, to name it in errors.
struct HubSubject: Sendable {
    var repository: RepositoryID?
    var revision: String?
    var path: String?
    var endpoint: String
    var sendsToken: Bool

    var name: String {
        guard let repository else { return endpoint }
        let revision = revision.map { "@\(printable($0, limit: 60))" } ?? ""
        let path = path.map { "/\(printable($0, limit: 200))" } ?? ""
        return "\(repository)\(revision)\(path)"
    }
}

/// The Hub's name for a request: what its support asks for.
///
/// Source: huggingface_hub, `utils/_http.py`: `X-Request-Id`, else `X-Amzn-Trace-Id`, else `X-Amz-Cf-Id`.
package func requestID(of headers: HTTPHeaders) -> String? {
    for name in ["x-request-id", "x-amzn-trace-id", "x-amz-cf-id"] {
        if let value = headers[name], !value.isEmpty { return printable(value, limit: 120) }
    }
    return nil
}

/// Turns a reply that is no success into the error it means.
///
/// Source: huggingface_hub, `hf_raise_for_status`: `X-Error-Code` decides first, then `X-Error-Message`, then the status.
func classify(_ head: HTTPResponseHead, body: [UInt8], subject: HubSubject) -> HubError {
    let said = serverMessage(head.headers, body)
    let code = errorCode(head, said)
    var message = sentence(code, subject)
    if let said { message += " The Hub says: \(said)" }
    return HubError(code, message, status: head.status, requestID: requestID(of: head.headers))
}

private func errorCode(_ head: HTTPResponseHead, _ said: String?) -> HubError.Code {
    switch head.headers["x-error-code"] {
    case "RepoNotFound" where said.map(speaksOfBadToken) != true: return .repositoryNotFound
    case "RevisionNotFound": return .revisionNotFound
    case "EntryNotFound": return .entryNotFound
    case "GatedRepo": return .gated
    case "DisabledRepo": return .disabled
    default: break
    }
    switch head.status {
    case 401: return said.map(speaksOfBadToken) == true ? .badToken : .repositoryNotFound
    case 403: return said?.hasPrefix("Access to this resource is disabled") == true ? .disabled : .forbidden
    case 404: return .repositoryNotFound
    case 429: return .rateLimited
    case 408, 500, 502, 503, 504: return .unavailable
    case 400..<500: return .invalidRequest
    case 500..<600: return .unavailable
    default: return .notAHub
    }
}

private func speaksOfBadToken(_ said: String) -> Bool { said.lowercased().hasPrefix("invalid credentials") }

private func sentence(_ code: HubError.Code, _ subject: HubSubject) -> String {
    let name = subject.name
    switch code {
    case .repositoryNotFound:
        let hint =
            subject.sendsToken
            ? "check the name and its kind, and that the token may read it."
            : "check the name; if it is private, give a token (HF_TOKEN)."
        return "\(name) was not found on \(subject.endpoint): \(hint)"
    case .revisionNotFound: return "\(name): there is no such branch, tag or commit."
    case .entryNotFound: return "\(name): there is no such file at this revision."
    case .gated:
        return subject.sendsToken
            ? "\(name) is gated and this token has no access: ask for it on the repository's page."
            : "\(name) is gated: ask for access on its page, then give a token (HF_TOKEN)."
    case .disabled: return "\(name) was disabled by the Hub."
    case .badToken: return "\(subject.endpoint) does not accept the token: give a valid one (HF_TOKEN), or none."
    case .forbidden: return "\(name): the Hub refuses access; the token may lack a permission."
    case .rateLimited:
        return "\(name): the Hub's rate limit is used up\(subject.sendsToken ? "." : "; a token raises it.")"
    case .unavailable: return "\(name): the Hub cannot answer now."
    case .invalidRequest: return "\(name): the Hub calls the request wrong."
    default: return "\(name): \(subject.endpoint) answered as no Hub does."
    }
}

private struct ErrorBody: Decodable {
    struct Item: Decodable { var message: String? }
    enum Texts: Decodable {
        case one(String)
        case many([String])
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .one(text)
            } else {
                self = .many(try container.decode([String].self))
            }
        }
        var joined: String {
            switch self {
            case .one(let text): text
            case .many(let texts): texts.joined(separator: "; ")
            }
        }
    }
    var error: Texts?
    var errorDescription: String?
    var errors: [Item]?
    var message: String?

    enum CodingKeys: String, CodingKey {
        case error
        case errorDescription = "error_description"
        case errors
        case message
    }
}

/// What the server said, for people; nil for HTML and for silence. Redacted and bounded.
func serverMessage(_ headers: HTTPHeaders, _ body: [UInt8]) -> String? {
    if let message = headers["x-error-message"], !message.isEmpty { return printable(redacted(message), limit: 300) }
    if body.isEmpty { return nil }
    let texts: [String]
    if let parsed = try? JSONDecoder().decode(ErrorBody.self, from: Data(body)) {
        let items = parsed.errors?.compactMap(\.message) ?? []
        texts = [parsed.error?.joined, parsed.errorDescription, parsed.message].compactMap(\.self) + items
    } else {
        let text = trimmed(String(decoding: body.prefix(600), as: UTF8.self))
        let isMarkup = text.hasPrefix("<") || headers["content-type"]?.lowercased().hasPrefix("text/html") == true
        texts = isMarkup || text.hasPrefix("{") || text.hasPrefix("[") ? [] : [text]
    }
    let joined = texts.joined(separator: ": ")
    return joined.isEmpty ? nil : printable(redacted(joined), limit: 300)
}

/// Turns the failure of an exchange without a reply into an error.
func classify(_ failure: HTTPFailure, subject: HubSubject) -> HubError {
    let code: HubError.Code =
        switch failure.code {
        case .tls: .untrusted
        case .cancelled: .cancelled
        case .deadlineExceeded: .deadlineExceeded
        case .invalidRequest: .invalidRequest
        case .protocolViolation, .bodyTooLong: .notAHub
        case .engineClosed, .resolve, .connect, .connectionLost, .bodyTooShort, .firstByteTimeout, .stalled:
            .unavailable
        }
    return HubError(
        code,
        "\(subject.name): \(failure.message)",
        status: failure.head?.status,
        requestID: failure.head.flatMap { requestID(of: $0.headers) }
    )
}
