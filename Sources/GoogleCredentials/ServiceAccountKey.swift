import Checksums
import HTTPEngine
import LinuxPlatform

/// A service account's private key: it signs an assertion, and the token server gives a token for it (RFC 7523).
struct ServiceAccountKey: TokenProvider {
    private struct Header: Encodable {
        var alg = "RS256"
        var typ = "JWT"
        var kid: String?
    }
    private struct Claims: Encodable {
        var iss: String
        var scope: String
        var aud: String
        var iat: Int64
        var exp: Int64
    }

    let label: String
    private let email: String
    private let keyID: String?
    private let key: SigningKey
    private let tokenURL: String
    private let scopes: [String]
    private let server: TokenServer

    init(
        _ document: CredentialDocument,
        origin: String,
        scopes: [String],
        server: TokenServer
    ) throws(CredentialError) {
        let label = "service account \(document.clientEmail ?? "?") (key of \(origin))"
        guard let email = document.clientEmail, let pem = document.privateKey else {
            throw CredentialError(.invalid, "\(label): client_email or private_key is missing")
        }
        self.label = label
        self.email = email
        keyID = document.privateKeyId
        guard let key = SigningKey(pem: pem) else {
            throw CredentialError(.invalid, "\(label): private_key is not an unencrypted RSA key in PEM form")
        }
        self.key = key
        tokenURL = try tokenEndpoint(document.tokenUri ?? "https://oauth2.googleapis.com/token", label, "token_uri")
        self.scopes = scopes
        self.server = server
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        let assertion = try self.assertion(at: server.time.timeOfDay())
        let fields = [
            (name: "grant_type", value: "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            (name: "assertion", value: assertion),
        ]
        return try await server.requestToken(tokenURL, fields, label: label, secrets: [assertion])
    }

    /// A JSON Web Token good for an hour (RFC 7519, RFC 7515 with RS256).
    func assertion(at now: UnixTime) throws(CredentialError) -> String {
        let header = JSONText.encode(Header(kid: keyID))
        let claims = Claims(
            iss: email,
            scope: scopes.joined(separator: " "),
            aud: tokenURL,
            iat: now.seconds,
            exp: now.seconds + 3600
        )
        let signed = "\(Base64.encodeForURL(header)).\(Base64.encodeForURL(JSONText.encode(claims)))"
        guard let signature = key.sign(Array(signed.utf8)) else {
            throw CredentialError(.invalid, "\(label): the private key cannot sign")
        }
        return "\(signed).\(Base64.encodeForURL(signature))"
    }
}

/// A URL that secrets are sent to must be encrypted, or not leave the machine, whatever a file says.
func tokenEndpoint(_ url: String, _ label: String, _ field: String) throws(CredentialError) -> String {
    guard let origin = WebOrigin(url: url), origin.mayReceiveSecrets else {
        throw CredentialError(.invalid, "\(label): \(field) is not an https URL")
    }
    return url
}
