/// A status code of a response, with its reason phrase.
///
/// Source: RFC 9110, section 15; 499 is what Cloud Storage answers to a cancelled upload session.
package struct HTTPStatus: Error, Hashable, Sendable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    package let code: Int

    package init(_ code: Int) { self.code = code }
    package init(integerLiteral code: Int) { self.code = code }

    package static let ok: HTTPStatus = 200
    package static let badRequest: HTTPStatus = 400
    package static let notFound: HTTPStatus = 404
    package static let contentTooLarge: HTTPStatus = 413
    package static let headerFieldsTooLarge: HTTPStatus = 431
    package static let notImplemented: HTTPStatus = 501
    package static let versionNotSupported: HTTPStatus = 505

    /// Whether a response of this status never has a body (RFC 9110, section 6.4.1).
    package var forbidsBody: Bool { code < 200 || code == 204 || code == 304 }

    package var reason: String { Self.reasons[code] ?? "Status \(code)" }

    package var description: String { "\(code) \(reason)" }

    private static let reasons: [Int: String] = [
        100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content",
        301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect",
        308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
        405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
        412: "Precondition Failed", 413: "Content Too Large", 416: "Range Not Satisfiable",
        429: "Too Many Requests", 431: "Request Header Fields Too Large", 499: "Client Closed Request",
        500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
        504: "Gateway Timeout", 505: "HTTP Version Not Supported",
    ]
}
