/// A failed call, as Cloud Storage answers it.
struct APIError: Error, Equatable {
    let status: HTTPStatus
    let reason: String
    let message: String
    /// The `Code` of the XML API.
    let code: String

    init(_ status: HTTPStatus, _ reason: String, _ message: String, code: String = "InvalidArgument") {
        self.status = status
        self.reason = reason
        self.message = message
        self.code = code
    }

    static func noObject(_ bucket: String, _ name: String) -> APIError {
        APIError(404, "notFound", "No such object: \(bucket)/\(name)", code: "NoSuchKey")
    }

    static let noBucket = APIError(404, "notFound", "The specified bucket does not exist.", code: "NoSuchBucket")
    static let noRoute = APIError(404, "notFound", "Not Found")
    static let methodNotAllowed = APIError(405, "methodNotAllowed", "Method Not Allowed", code: "MethodNotAllowed")
    static let conditionNotMet = APIError(
        412,
        "conditionNotMet",
        "At least one of the pre-conditions you specified did not hold.",
        code: "PreconditionFailed"
    )
    /// A condition that makes a read unnecessary: 304, without a body.
    static let notModified = APIError(304, "notModified", "")
    static let connectionLost = APIError(400, "uploadBrokenConnection", "The request's body ended early.")

    static func invalid(_ message: String, code: String = "InvalidArgument") -> APIError {
        APIError(400, "invalid", message, code: code)
    }

    static func conflict(_ message: String) -> APIError { APIError(409, "conflict", message, code: "Conflict") }

    static func badDigest(_ kind: String, provided: String, computed: String) -> APIError {
        .invalid(
            "Provided \(kind) \"\(provided)\" doesn't match calculated \(kind) \"\(computed)\".",
            code: "BadDigest"
        )
    }

    static func storage(_ error: some Error) -> APIError {
        APIError(500, "backendError", "The emulator's storage failed: \(error)", code: "InternalError")
    }

    /// The form of the JSON API.
    var jsonResponse: EmulatorResponse {
        if status.forbidsBody { return EmulatorResponse(status) }
        let detail: JSONValue = ["domain": "global", "reason": .string(reason), "message": .string(message)]
        let body: JSONValue = [
            "error": ["code": .integer(Int64(status.code)), "message": .string(message), "errors": [detail]]
        ]
        return json(status, body)
    }

    /// The form of media requests.
    var textResponse: EmulatorResponse {
        if status.forbidsBody { return EmulatorResponse(status) }
        return EmulatorResponse(status, text: message, contentType: "text/html; charset=UTF-8")
    }

    /// The form of the XML API.
    var xmlResponse: EmulatorResponse {
        if status.forbidsBody { return EmulatorResponse(status) }
        let text =
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>\(code)</Code><Message>\(xmlEscaped(message))</Message></Error>"
        return EmulatorResponse(status, text: text, contentType: "application/xml; charset=UTF-8")
    }
}

func json(_ status: HTTPStatus, _ value: JSONValue) -> EmulatorResponse {
    EmulatorResponse(
        status,
        headers: ["Content-Type": "application/json; charset=UTF-8"],
        body: .bytes(value.serialized)
    )
}

func xmlEscaped(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": escaped += "&amp;"
        case "<": escaped += "&lt;"
        case ">": escaped += "&gt;"
        case "\"": escaped += "&quot;"
        default: escaped.unicodeScalars.append(scalar)
        }
    }
    return escaped
}
