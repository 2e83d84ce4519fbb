import HTTPEngine
import LinuxPlatform

/// The metadata server of Compute Engine, GKE (Workload Identity) and Cloud Run.
///
/// Source: Compute Engine, "Access instance metadata"; detection as google-auth does it.
struct MetadataServer: TokenProvider {
    /// Where it is, from the environment.
    struct Place: Sendable, Equatable {
        var host: String
        var pingAddress: String
        /// Somebody named a host: no need to find out whether there is one.
        var isNamed: Bool
        var isExcluded: Bool

        init(_ environment: [String: String]) {
            func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
            let named = value("GCE_METADATA_HOST") ?? value("GCE_METADATA_ROOT")
            host = named ?? "metadata.google.internal"
            pingAddress = value("GCE_METADATA_IP") ?? "169.254.169.254"
            isNamed = named != nil
            isExcluded = value("NO_GCE_CHECK")?.lowercased() == "true"
        }
    }

    private static let flavor: HTTPHeaders = [("Metadata-Flavor", "Google")]
    private static let account = "computeMetadata/v1/instance/service-accounts/default"

    private let place: Place
    private let scopes: [String]
    private let server: TokenServer
    private let email: Lock<String?>

    var label: String {
        let email = email.withLock { $0 }
        return "the machine's service account\(email.map { " \($0)" } ?? "") (metadata server \(place.host))"
    }

    init(_ place: Place, scopes: [String], server: TokenServer) throws(CredentialError) {
        guard WebOrigin(url: "http://\(place.host)") != nil else {
            throw CredentialError(.invalid, "GCE_METADATA_HOST is not a host or host:port")
        }
        self.place = place
        self.scopes = scopes
        self.server = server
        email = Lock(nil)
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        if email.withLock({ $0 }) == nil {
            // Only for messages: a server without it is still good.
            let found = try? await text("\(Self.account)/email", attempts: 1)
            if let found, found.utf8.count < 256, AccessToken.isSendable(found) { email.withLock { $0 = found } }
        }
        let started = server.time.now()
        let query = scopes.isEmpty ? "" : "?scopes=\(PercentEncoding.segment(scopes.joined(separator: ",")))"
        let response = try await get("\(Self.account)/token\(query)", attempts: 5)
        return try server.accessToken(in: response, started: started, label: label)
    }

    /// Whether this machine has one: `NO_GCE_CHECK`, then three pings of 3 s, then what the firmware says.
    static func isPresent(_ place: Place, server: TokenServer, productName: String) async -> Bool {
        if place.isExcluded { return false }
        if place.isNamed { return true }
        guard WebOrigin(url: "http://\(place.pingAddress)") != nil else { return false }
        for _ in 0..<3 {
            let call = TokenServer.Call(
                method: "GET",
                url: "http://\(place.pingAddress)/",
                headers: flavor,
                label: "metadata server",
                usesProxy: false,
                attempts: 1,
                timeout: .seconds(3)
            )
            do throws(CredentialError) {
                return try await server.send(call).headers["metadata-flavor"] == "Google"
            } catch {
                if error.code != .unavailable { break }
            }
        }
        let name = (try? CredentialFile.contents(productName, what: "the product name")) ?? []
        return name.starts(with: Array("Google".utf8))
    }

    private func text(_ path: String, attempts: Int) async throws(CredentialError) -> String {
        String(decoding: try await get(path, attempts: attempts).body, as: UTF8.self)
    }

    private func get(_ path: String, attempts: Int) async throws(CredentialError) -> HTTPResponse {
        let call = TokenServer.Call(
            method: "GET",
            url: "http://\(place.host)/\(path)",
            headers: Self.flavor,
            label: label,
            usesProxy: false,
            // On GKE the first calls of a new pod can be answered 404 until the node's agent knows the pod.
            alsoRetried: [404],
            attempts: attempts,
            timeout: .seconds(attempts == 1 ? 3 : 10)
        )
        let response = try await server.send(call)
        guard response.headers["metadata-flavor"] == "Google" else {
            throw CredentialError(.refused, "\(place.host) is not a metadata server: it does not say Metadata-Flavor")
        }
        return response
    }
}
