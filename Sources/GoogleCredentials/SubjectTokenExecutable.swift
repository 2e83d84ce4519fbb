import LinuxPlatform

/// A program that prints a federated identity's own token.
///
/// Runs only where `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1` says that credential files may start programs.
/// Source: AIP-4117, "Executable-sourced credentials".
struct SubjectTokenExecutable: Sendable {
    /// What it prints.
    struct Reply: Decodable, Sendable {
        var version: LenientInteger?
        var success: Bool?
        var tokenType: String?
        var idToken: String?
        var samlResponse: String?
        var expirationTime: LenientInteger?
        var code: String?
        var message: String?
    }

    static let jwtTypes: Set = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"]
    static let samlType = "urn:ietf:params:oauth:token-type:saml2"

    private let arguments: [String]
    private let timeout: Duration
    private let outputFile: String?
    private let environment: [String]

    init(
        _ executable: CredentialDocument.Source.Executable,
        _ document: CredentialDocument,
        _ label: String,
        _ environment: [String: String]
    ) throws(CredentialError) {
        guard environment["GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"] == "1" else {
            throw CredentialError(
                .invalid,
                "\(label): the credentials file wants to run a program; set GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1 "
                    + "if you trust it"
            )
        }
        arguments = (executable.command ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
        guard !arguments.isEmpty else {
            throw CredentialError(.invalid, "\(label): credential_source.executable.command is missing")
        }
        let milliseconds = executable.timeoutMillis?.value ?? 30_000
        guard (5_000...120_000).contains(milliseconds) else {
            throw CredentialError(.invalid, "\(label): executable.timeout_millis is not between 5000 and 120000")
        }
        timeout = .milliseconds(milliseconds)
        outputFile = executable.outputFile
        var variables = environment
        variables["GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE"] = document.audience
        variables["GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE"] = document.subjectTokenType
        variables["GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE"] = outputFile
        variables["GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL"] =
            document.serviceAccountImpersonationUrl.map(Impersonation.account(in:))
        self.environment = variables.map { "\($0.key)=\($0.value)" }.sorted()
    }

    /// What the output file still holds, or else what the program prints.
    func token(_ time: any TimeSource, label: String) async throws(CredentialError) -> String {
        if let outputFile,
            let bytes = try? CredentialFile.contents(outputFile, what: "the executable's output"),
            let kept = JSONText.decode(Reply.self, from: bytes), kept.success == true,
            let end = kept.expirationTime?.value, end > time.timeOfDay().seconds
        {
            return try Self.token(in: kept, now: time.timeOfDay(), label: label)
        }
        let output: [UInt8]
        do {
            output = try await ChildProcess.run(arguments, environment: environment, timeout: timeout, limit: 1 << 20)
        } catch {
            throw CredentialError(.unavailable, "\(label): the program '\(arguments[0])' \(error.message)")
        }
        guard let reply = JSONText.decode(Reply.self, from: output) else {
            throw CredentialError(.invalid, "\(label): the program '\(arguments[0])' did not print a JSON reply")
        }
        return try Self.token(in: reply, now: time.timeOfDay(), label: label)
    }

    static func token(in reply: Reply, now: UnixTime, label: String) throws(CredentialError) -> String {
        guard reply.version?.value == 1, let success = reply.success else {
            throw CredentialError(.invalid, "\(label): the program's reply is not of version 1")
        }
        guard success else {
            let why = TokenServerReply.shown("\(reply.code ?? "?"): \(reply.message ?? "no message")", [])
            throw CredentialError(.refused, "\(label): the program gave no token, \(why)")
        }
        if let end = reply.expirationTime?.value, end <= now.seconds {
            throw CredentialError(.refused, "\(label): the program's token has expired")
        }
        let type = reply.tokenType ?? ""
        let token = jwtTypes.contains(type) ? reply.idToken : type == samlType ? reply.samlResponse : nil
        guard let token else {
            throw CredentialError(.invalid, "\(label): the program's reply has no token of a known token_type")
        }
        return token
    }
}
