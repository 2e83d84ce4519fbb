import Checksums
import LinuxPlatform

/// Where clients get tokens: the OAuth and STS endpoints, impersonation, and a metadata server.
///
/// Whoever asks in the right form gets a token: assertions are decoded, their signatures are not verified.
/// Sources: RFC 7523, RFC 8693, AIP-4111, the IAM Credentials API, "VM metadata" of Compute Engine.
struct TokenEndpoint: Sendable {
    let tokens: AccessTokens

    /// Nil when the request is for something else.
    func respond(to request: inout EmulatorRequest) -> EmulatorResponse? {
        let segments = request.target.segments
        if segments.first == "computeMetadata" { return metadata(request) }
        if request.method == "GET", segments == [""] {
            // The probe of a client that looks for a metadata server.
            return EmulatorResponse(.ok, headers: ["Metadata-Flavor": "Google"], text: "computeMetadata/\n")
        }
        guard request.method == "POST" else { return nil }
        switch segments {
        case ["token"], ["v1", "token"], ["oauth2", "token"], ["v1", "oauthtoken"]: return exchange(&request)
        default: break
        }
        if segments.count == 5, segments.starts(with: ["v1", "projects", "-", "serviceAccounts"]),
            segments[4].hasSuffix(":generateAccessToken")
        {
            return impersonate(&request)
        }
        return nil
    }

    private func exchange(_ request: inout EmulatorRequest) -> EmulatorResponse {
        guard let body = try? request.body.readAll(limit: 1 << 20), let form = decodedForm(body[...]) else {
            return refusal("invalid_request", "The body is no form.")
        }
        let value: (String) -> String? = { name in form.first { $0.name == name }?.value }
        var reply: JSONValue = ["token_type": "Bearer", "expires_in": 3599]
        switch value("grant_type") {
        case "urn:ietf:params:oauth:grant-type:jwt-bearer":
            guard let assertion = value("assertion"), hasClaims(assertion) else {
                return refusal("invalid_grant", "Invalid JWT: the assertion must have three parts and iss, aud, exp.")
            }
        case "refresh_token":
            guard value("refresh_token")?.isEmpty == false, value("client_id") != nil else {
                return refusal("invalid_grant", "Bad Request")
            }
        case "urn:ietf:params:oauth:grant-type:token-exchange":
            guard value("subject_token")?.isEmpty == false, value("subject_token_type") != nil,
                value("audience") != nil
            else { return refusal("invalid_request", "subject_token, subject_token_type and audience are required.") }
            reply["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
        default: return refusal("unsupported_grant_type", "Invalid grant_type")
        }
        reply["access_token"] = .string(tokens.issue())
        return json(.ok, reply)
    }

    private func impersonate(_ request: inout EmulatorRequest) -> EmulatorResponse {
        guard let body = try? request.body.readAll(limit: 1 << 20), let value = JSONValue(parsing: body),
            value["scope"]?.elements?.isEmpty == false
        else { return APIError(400, "invalid", "scope is required").jsonResponse }
        guard tokens.accepts(request.headers["Authorization"]), request.headers["Authorization"] != nil else {
            return APIError(401, "authError", "Invalid Credentials").jsonResponse
        }
        let seconds = value["lifetime"]?.text.flatMap { Int64($0.dropLast()) } ?? 3600
        let expiry = SystemTime().timeOfDay().advanced(by: .seconds(seconds))
        return json(
            .ok,
            [
                "accessToken": .string(tokens.issue(lifetime: .seconds(seconds))),
                "expireTime": .string(expiry.description),
            ]
        )
    }

    private func metadata(_ request: EmulatorRequest) -> EmulatorResponse {
        guard request.headers["Metadata-Flavor"] == "Google" else {
            return EmulatorResponse(403, text: "Missing Metadata-Flavor:Google header.\n")
        }
        let flavor: HeaderFields = ["Metadata-Flavor": "Google", "Server": "Metadata Server for VM"]
        let account = "emulator@penstock.iam.gserviceaccount.com"
        switch request.target.segments.dropFirst(2).joined(separator: "/") {
        case "instance/service-accounts/default/token", "instance/service-accounts/\(account)/token":
            let reply: JSONValue = [
                "access_token": .string(tokens.issue()), "expires_in": 3599, "token_type": "Bearer",
            ]
            var response = json(.ok, reply)
            for field in flavor.fields { response.headers[field.name] = field.value }
            return response
        case "instance/service-accounts/default/email": return EmulatorResponse(.ok, headers: flavor, text: account)
        case "instance/service-accounts/default/":
            var response = json(
                .ok,
                [
                    "email": .string(account), "aliases": ["default"],
                    "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                ]
            )
            for field in flavor.fields { response.headers[field.name] = field.value }
            return response
        case "project/project-id": return EmulatorResponse(.ok, headers: flavor, text: "penstock-emulator")
        case "project/numeric-project-id": return EmulatorResponse(.ok, headers: flavor, text: "1")
        case "instance/zone": return EmulatorResponse(.ok, headers: flavor, text: "projects/1/zones/emulator1-a")
        default: return EmulatorResponse(404, headers: flavor, text: "Not Found\n")
        }
    }

    private func refusal(_ error: String, _ description: String) -> EmulatorResponse {
        json(.badRequest, ["error": .string(error), "error_description": .string(description)])
    }

    private func hasClaims(_ assertion: String) -> Bool {
        let parts = assertion.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64.decode(String(Substring(parts[1]))),
            let claims = JSONValue(parsing: bytes)
        else { return false }
        return claims["iss"]?.text != nil && claims["aud"]?.text != nil && claims["exp"]?.int64 != nil
    }
}
