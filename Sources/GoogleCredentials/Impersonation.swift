import HTTPEngine
import LinuxPlatform

/// A service account that another credential may act as.
///
/// Source: IAM Service Account Credentials API, `projects.serviceAccounts.generateAccessToken`.
struct Impersonation: TokenProvider {
    private struct Request: Encodable {
        var delegates: [String]
        var scope: [String]
        var lifetime: String
    }
    private struct Reply: Decodable {
        var accessToken: String
        var expireTime: String
    }

    let label: String
    private let source: any TokenProvider
    private let url: String
    private let body: [UInt8]
    private let server: TokenServer

    /// - Parameter lifetime: seconds; the API allows 600 to 43,200.
    init(
        _ url: String,
        of source: any TokenProvider,
        delegates: [String] = [],
        lifetime: Int64 = 3600,
        scopes: [String],
        server: TokenServer
    ) throws(CredentialError) {
        label = "service account \(Self.account(in: url)) impersonated by \(source.label)"
        self.source = source
        self.url = try tokenEndpoint(url, label, "service_account_impersonation_url")
        guard (600...43_200).contains(lifetime) else {
            throw CredentialError(.invalid, "\(label): token_lifetime_seconds is not between 600 and 43200")
        }
        let principals = delegates.map { $0.hasPrefix("projects/") ? $0 : "projects/-/serviceAccounts/\($0)" }
        body = JSONText.encode(Request(delegates: principals, scope: scopes, lifetime: "\(lifetime)s"))
        self.server = server
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        let token = try await source.fetch()
        let headers: HTTPHeaders = [
            ("Authorization", "Bearer \(token.secret)"), ("Content-Type", "application/json; charset=utf-8"),
        ]
        let started = server.time.now()
        let today = server.time.timeOfDay()
        let response = try await server.send(
            .init(url: url, headers: headers, body: body, label: label, secrets: [token.secret])
        )
        guard let reply = JSONText.decode(Reply.self, from: response.body), AccessToken.isSendable(reply.accessToken),
            let end = UnixTime(rfc3339: reply.expireTime)
        else { throw CredentialError(.refused, "\(label): the reply holds no access token with its expiry") }
        return AccessToken(secret: reply.accessToken, expiry: started.advanced(by: today.duration(to: end)))
    }

    /// The account's address, out of `.../serviceAccounts/ADDRESS:generateAccessToken`.
    static func account(in url: String) -> String {
        guard let last = url.split(separator: "/").last, let colon = last.lastIndex(of: ":") else { return "?" }
        return String(last[..<colon])
    }
}
