/// Which of the emulator's services a request is for.
struct CloudStorageRouter: Sendable {
    let service: StorageService
    let tokens: AccessTokens
    let externalOrigin: String?

    func respond(to request: inout EmulatorRequest) -> EmulatorResponse {
        request.externalOrigin = externalOrigin
        if request.target.segments.first == "_emulator" { return administer(&request) }
        if let response = TokenEndpoint(tokens: tokens).respond(to: &request) { return response }
        let api = StorageAPI(service: service)
        let isSession = request.query("upload_id") != nil
        if !isSession, !tokens.accepts(request.headers["Authorization"]) {
            let error = APIError(401, "authError", "Invalid Credentials", code: "AuthenticationRequired")
            var response = error.jsonResponse
            response.headers["WWW-Authenticate"] = "Bearer realm=\"https://accounts.google.com/\""
            return response
        }
        if request.target.segments == ["batch", "storage", "v1"] || request.target.segments == ["batch"] {
            return BatchCall(api: api).respond(to: &request)
        }
        return api.respond(to: &request) ?? XMLAPI(api: api).respond(to: &request)
    }

    /// Routes under `/_emulator/gcs`, beside those that every server has.
    private func administer(_ request: inout EmulatorRequest) -> EmulatorResponse {
        do throws(APIError) {
            switch (request.method, request.target.rawPath) {
            case ("POST", "/_emulator/gcs/corrupt"):
                guard let bucket = request.query("bucket"), let object = request.query("object"),
                    let byte = try request.target.int64("byte")
                else { throw .invalid("corrupt needs bucket, object and byte.") }
                try service.corrupt(bucket, object, byte: Int(byte))
                return EmulatorResponse(204)
            case ("POST", "/_emulator/gcs/tokens/expire"):
                tokens.expireAll()
                return EmulatorResponse(204)
            case ("POST", "/_emulator/gcs/tokens/require"):
                tokens.isRequired = request.query("required") != "false"
                return EmulatorResponse(204)
            default: throw .noRoute
            }
        } catch {
            return error.jsonResponse
        }
    }
}
