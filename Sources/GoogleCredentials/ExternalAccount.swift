import LinuxPlatform

/// A workload of another identity provider (workload identity federation): its own token is exchanged at the Security
/// Token Service (RFC 8693).
struct ExternalAccount: TokenProvider {
    static let cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

    let label: String
    private let audience: String
    private let subjectTokenType: String
    private let tokenURL: String
    private let scopes: [String]
    private let source: SubjectTokenSource
    private let server: TokenServer

    init(
        _ document: CredentialDocument,
        origin: String,
        scopes: [String],
        environment: [String: String],
        server: TokenServer
    ) throws(CredentialError) {
        let label = "external account (\(origin))"
        guard let audience = document.audience, let type = document.subjectTokenType, let url = document.tokenUrl
        else {
            throw CredentialError(.invalid, "\(label): audience, subject_token_type or token_url is missing")
        }
        self.label = label
        self.audience = audience
        subjectTokenType = type
        tokenURL = try tokenEndpoint(url, label, "token_url")
        source = try SubjectTokenSource(document, label: label, environment: environment)
        self.scopes = scopes
        self.server = server
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        let subjectToken = try await source.token(server, label: label)
        let fields = [
            (name: "grant_type", value: "urn:ietf:params:oauth:grant-type:token-exchange"),
            (name: "audience", value: audience),
            (name: "scope", value: scopes.joined(separator: " ")),
            (name: "requested_token_type", value: "urn:ietf:params:oauth:token-type:access_token"),
            (name: "subject_token", value: subjectToken),
            (name: "subject_token_type", value: subjectTokenType),
        ]
        return try await server.requestToken(tokenURL, fields, label: label, secrets: [subjectToken])
    }
}
