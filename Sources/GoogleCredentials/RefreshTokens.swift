import Checksums
import HTTPEngine

/// A person's credentials, as `gcloud auth application-default login` leaves them (RFC 6749, section 6).
struct AuthorizedUser: TokenProvider {
    static let tokenURL = "https://oauth2.googleapis.com/token"

    let label: String
    private let clientID: String
    private let clientSecret: String
    private let refreshToken: String
    private let tokenURL: String
    private let server: TokenServer

    init(_ document: CredentialDocument, origin: String, server: TokenServer) throws(CredentialError) {
        let who = document.account.flatMap { $0.isEmpty ? nil : " \($0)" } ?? ""
        let label = "user credentials\(who) (\(origin))"
        guard let clientID = document.clientId, let secret = document.clientSecret,
            let refreshToken = document.refreshToken
        else {
            throw CredentialError(.invalid, "\(label): client_id, client_secret or refresh_token is missing")
        }
        self.label = label
        self.clientID = clientID
        clientSecret = secret
        self.refreshToken = refreshToken
        tokenURL = try tokenEndpoint(document.tokenUri ?? Self.tokenURL, label, "token_uri")
        self.server = server
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        let fields = [
            (name: "grant_type", value: "refresh_token"), (name: "client_id", value: clientID),
            (name: "client_secret", value: clientSecret), (name: "refresh_token", value: refreshToken),
        ]
        return try await server.requestToken(tokenURL, fields, label: label, secrets: [clientSecret, refreshToken])
    }
}

/// A person of a workforce pool: a refresh token for the federation's own token server.
struct ExternalAccountAuthorizedUser: TokenProvider {
    let label: String
    private let clientID: String
    private let clientSecret: String
    private let refreshToken: String
    private let tokenURL: String
    private let server: TokenServer

    init(_ document: CredentialDocument, origin: String, server: TokenServer) throws(CredentialError) {
        let label = "workforce user credentials (\(origin))"
        guard let clientID = document.clientId, let secret = document.clientSecret,
            let refreshToken = document.refreshToken, let url = document.tokenUrl
        else {
            throw CredentialError(
                .invalid,
                "\(label): client_id, client_secret, refresh_token or token_url is missing"
            )
        }
        self.label = label
        self.clientID = clientID
        clientSecret = secret
        self.refreshToken = refreshToken
        tokenURL = try tokenEndpoint(url, label, "token_url")
        self.server = server
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        let basic = Base64.encode(Array("\(clientID):\(clientSecret)".utf8))
        let fields = [(name: "grant_type", value: "refresh_token"), (name: "refresh_token", value: refreshToken)]
        return try await server.requestToken(
            tokenURL,
            fields,
            headers: [("Authorization", "Basic \(basic)")],
            label: label,
            secrets: [clientSecret, refreshToken, basic]
        )
    }
}
