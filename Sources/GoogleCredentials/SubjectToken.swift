import HTTPEngine
import LinuxPlatform

/// Where a federated identity's own token comes from.
///
/// Source: AIP-4117, `credential_source`.
enum SubjectTokenSource: Sendable {
    case file(path: String, field: String?)
    case url(String, headers: [String: String], field: String?)
    case executable(SubjectTokenExecutable)

    init(
        _ document: CredentialDocument,
        label: String,
        environment: [String: String]
    ) throws(CredentialError) {
        guard let source = document.credentialSource else {
            throw CredentialError(.invalid, "\(label): credential_source is missing")
        }
        if let environmentID = source.environmentId {
            throw CredentialError(
                .invalid,
                "\(label): credential_source.environment_id '\(TokenServerReply.shown(environmentID, []))' is not "
                    + "supported; use a file, url or executable source"
            )
        }
        let field = try Self.field(source.format, label)
        switch (source.file, source.url, source.executable) {
        case (let path?, nil, nil): self = .file(path: path, field: field)
        case (nil, let url?, nil):
            guard let origin = WebOrigin(url: url), origin.mayReceiveSecrets || origin.host.hasPrefix("169.254.") else {
                throw CredentialError(.invalid, "\(label): credential_source.url is neither https nor on this machine")
            }
            self = .url(url, headers: source.headers ?? [:], field: field)
        case (nil, nil, let executable?):
            self = .executable(try SubjectTokenExecutable(executable, document, label, environment))
        default:
            throw CredentialError(.invalid, "\(label): credential_source must have one of file, url and executable")
        }
    }

    private static func field(
        _ format: CredentialDocument.Source.Format?,
        _ label: String
    ) throws(CredentialError) -> String? {
        switch format?.type ?? "text" {
        case "text": return nil
        case "json":
            guard let field = format?.subjectTokenFieldName else {
                throw CredentialError(.invalid, "\(label): format.subject_token_field_name is missing")
            }
            return field
        default: throw CredentialError(.invalid, "\(label): format.type is neither text nor json")
        }
    }

    func token(_ server: TokenServer, label: String) async throws(CredentialError) -> String {
        let token: String
        switch self {
        case .file(let path, let field):
            token = try Self.extract(try CredentialFile.contents(path, what: "the subject token"), field, label)
        case .url(let url, let headers, let field):
            let fields = headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
            let call = TokenServer.Call(
                method: "GET",
                url: url,
                headers: HTTPHeaders(fields),
                label: "\(label): subject token",
                secrets: Array(headers.values),
                usesProxy: url.hasPrefix("https")
            )
            token = try Self.extract(try await server.send(call).body, field, label)
        case .executable(let executable): token = try await executable.token(server.time, label: label)
        }
        guard !token.isEmpty else { throw CredentialError(.invalid, "\(label): the subject token is empty") }
        return token
    }

    private static func extract(_ bytes: [UInt8], _ field: String?, _ label: String) throws(CredentialError) -> String {
        if let field {
            guard let text = JSONText.text(at: field, in: bytes) else {
                throw CredentialError(.invalid, "\(label): the subject token's JSON has no text at '\(field)'")
            }
            return text
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
