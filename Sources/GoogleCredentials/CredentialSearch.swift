package import HTTPEngine
package import LinuxPlatform

/// What the user said about credentials, and where to look when that is nothing.
package struct CredentialOptions: Sendable {
    /// Send no credentials at all.
    package var isAnonymous: Bool
    /// A file that somebody keeps a fresh access token in.
    package var tokenFile: String?
    /// A credentials file of any kind; before `GOOGLE_APPLICATION_CREDENTIALS`.
    package var credentialsFile: String?
    package var scopes: [String]
    /// The environment's variables.
    package var environment: [String: String]
    /// What the firmware calls this machine; tests hand in another file.
    package var productNameFile: String

    package init(
        isAnonymous: Bool = false,
        tokenFile: String? = nil,
        credentialsFile: String? = nil,
        scopes: [String] = ["https://www.googleapis.com/auth/devstorage.full_control"],
        environment: [String: String],
        productNameFile: String = "/sys/class/dmi/id/product_name"
    ) {
        self.isAnonymous = isAnonymous
        self.tokenFile = tokenFile
        self.credentialsFile = credentialsFile
        self.scopes = scopes
        self.environment = environment
        self.productNameFile = productNameFile
    }
}

extension GoogleCredentials {
    /// The credentials of this process, found as the official clients find them (AIP-4110): what the user named, then
    /// `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's application default credentials, the metadata server.
    ///
    /// Reads files and may ask the metadata server whether it is there; asks nobody for a token yet.
    package static func find(
        _ options: CredentialOptions,
        transport: any HTTPTransport,
        time: any TimeSource = SystemTime()
    ) async throws(CredentialError) -> GoogleCredentials {
        let builder = CredentialBuilder(options: options, server: TokenServer(transport: transport, time: time))
        if options.isAnonymous { return .anonymous }
        if let path = options.tokenFile {
            return GoogleCredentials(TokenFile(path: path), quotaProject: builder.quotaProject(nil), time: time)
        }
        if let path = options.credentialsFile ?? builder.variable("GOOGLE_APPLICATION_CREDENTIALS") {
            return try builder.credentials(file: path)
        }
        if let path = builder.wellKnownFile { return try builder.credentials(file: path) }
        let place = MetadataServer.Place(options.environment)
        let isPresent = await MetadataServer.isPresent(
            place,
            server: builder.server,
            productName: options.productNameFile
        )
        guard isPresent else {
            throw CredentialError(
                .notFound,
                "no Google credentials found: set GOOGLE_APPLICATION_CREDENTIALS to a credentials file, run 'gcloud auth "
                    + "application-default login', run on Google Cloud, or choose anonymous access for public buckets"
            )
        }
        let provider = try MetadataServer(place, scopes: options.scopes, server: builder.server)
        return GoogleCredentials(provider, quotaProject: builder.quotaProject(nil), time: time)
    }
}

/// Turns credential documents into providers of tokens.
struct CredentialBuilder: Sendable {
    let options: CredentialOptions
    let server: TokenServer

    func variable(_ name: String) -> String? { options.environment[name].flatMap { $0.isEmpty ? nil : $0 } }

    func quotaProject(_ document: CredentialDocument?) -> String? {
        variable("GOOGLE_CLOUD_QUOTA_PROJECT") ?? document?.quotaProjectId
    }

    /// gcloud's file, if it is there.
    var wellKnownFile: String? {
        let directory = variable("CLOUDSDK_CONFIG") ?? variable("HOME").map { $0 + "/.config/gcloud" }
        guard let path = directory.map({ $0 + "/application_default_credentials.json" }) else { return nil }
        do throws(Errno) {
            _ = try FileDescriptor(path: path, flags: 0)
        } catch {
            // A file that is there and closed to us is an error to report, not a reason to look elsewhere.
            if error == .noEntry || error == .notDirectory { return nil }
        }
        return path
    }

    func credentials(file path: String) throws(CredentialError) -> GoogleCredentials {
        let document = try CredentialFile.document(path)
        let provider = try provider(document, origin: path, scopes: options.scopes)
        return GoogleCredentials(provider, quotaProject: quotaProject(document), time: server.time)
    }

    /// - Parameter depth: documents nest in `impersonated_service_account`.
    func provider(
        _ document: CredentialDocument,
        origin: String,
        scopes: [String],
        depth: Int = 0
    ) throws(CredentialError) -> any TokenProvider {
        if let universe = document.universeDomain, universe != "googleapis.com" {
            throw CredentialError(
                .invalid,
                "\(origin): credentials of the universe '\(TokenServerReply.shown(universe, []))' are not supported"
            )
        }
        switch document.type {
        case "service_account":
            return try ServiceAccountKey(document, origin: origin, scopes: scopes, server: server)
        case "authorized_user": return try AuthorizedUser(document, origin: origin, server: server)
        case "external_account": return try externalAccount(document, origin, scopes)
        case "external_account_authorized_user":
            return try ExternalAccountAuthorizedUser(document, origin: origin, server: server)
        case "impersonated_service_account" where depth < 3:
            return try impersonated(document, origin, scopes, depth)
        default:
            let type = TokenServerReply.shown(document.type ?? "none", [])
            throw CredentialError(.invalid, "\(origin): credentials of type '\(type)' are not supported")
        }
    }

    private func externalAccount(
        _ document: CredentialDocument,
        _ origin: String,
        _ scopes: [String]
    ) throws(CredentialError) -> any TokenProvider {
        let url = document.serviceAccountImpersonationUrl
        let account = try ExternalAccount(
            document,
            origin: origin,
            scopes: url == nil ? scopes : [ExternalAccount.cloudPlatform],
            environment: options.environment,
            server: server
        )
        guard let url else { return account }
        let lifetime = document.serviceAccountImpersonation?.tokenLifetimeSeconds?.value ?? 3600
        return try Impersonation(url, of: account, lifetime: lifetime, scopes: scopes, server: server)
    }

    private func impersonated(
        _ document: CredentialDocument,
        _ origin: String,
        _ scopes: [String],
        _ depth: Int
    ) throws(CredentialError) -> any TokenProvider {
        guard let nested = document.sourceCredentials?.document, let url = document.serviceAccountImpersonationUrl
        else {
            throw CredentialError(
                .invalid,
                "\(origin): source_credentials or service_account_impersonation_url is missing"
            )
        }
        let source = try provider(nested, origin: origin, scopes: [ExternalAccount.cloudPlatform], depth: depth + 1)
        return try Impersonation(
            url,
            of: source,
            delegates: document.delegates ?? [],
            scopes: scopes,
            server: server
        )
    }
}
