/// A request to the daemon's socket, whole.
package struct AdminRequest: Hashable, Sendable {
    /// As it was sent: methods are told apart by case.
    package let method: String
    /// Before the `?`; begins with `/`. Nothing in it is decoded: the paths that exist need no escapes.
    package let path: String
    package let body: [UInt8]

    package init(method: String, path: String, body: [UInt8] = []) {
        self.method = method
        self.path = path
        self.body = body
    }
}

/// What is answered.
package struct AdminReply: Hashable, Sendable {
    package var status: Int
    package var contentType: String
    package var body: [UInt8]
    /// The value of `Allow`, for status 405.
    package var allowed: String?

    package init(_ status: Int, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// A line of text, for people.
    package init(_ status: Int, _ line: String) {
        self.init(status, contentType: "text/plain; charset=utf-8", body: Array("\(line)\n".utf8))
    }

    /// As it goes over the wire. Each connection serves one request.
    var bytes: [UInt8] {
        var head = "HTTP/1.1 \(status) \(Self.reasons[status] ?? "Status")\r\n"
        head += "Content-Type: \(contentType)\r\nContent-Length: \(body.count)\r\n"
        if let allowed { head += "Allow: \(allowed)\r\n" }
        head += "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + body
    }

    private static let reasons = [
        200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
        408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
        431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
        503: "Service Unavailable", 505: "HTTP Version Not Supported", 507: "Insufficient Storage",
    ]
}
