/// How a request goes wrong. Several may be combined.
package struct FaultActions: Sendable {
    /// Stands for the handler: the request is not carried out.
    package struct Answer: Sendable {
        package var status: HTTPStatus
        package var headers: HeaderFields = [:]
        package var body = ""
        package var contentType = "text/plain; charset=utf-8"

        package init(_ status: HTTPStatus, headers: HeaderFields = [:], body: String = "") {
            self.status = status
            self.headers = headers
            self.body = body
        }
    }

    package enum WrongBody: String, Sendable {
        /// A page of HTML with status 200, as a captive portal or a proxy gives it.
        case html
        /// The real body's length of bytes with `Content-Encoding: gzip`, which nobody asked for.
        case gzip
        /// Nothing, with the right status.
        case empty
    }

    package var answer: Answer?
    package var send = SendFaults()
    package var receive = ReceiveFaults()
    package var service = ProtocolFaults()
    /// The handler does not see the `Range` field.
    package var ignoresRange = false
    package var wrongBody: WrongBody?
    package var dropHeaders: [String] = []
    package var replaceHeaders: HeaderFields = [:]

    package init() {}

    /// Answers with this instead of carrying the request out.
    package static func answer(_ status: HTTPStatus, headers: HeaderFields = [:], body: String = "") -> FaultActions {
        var actions = FaultActions()
        actions.answer = Answer(status, headers: headers, body: body)
        return actions
    }

    /// Alters what is sent.
    package static func sending(_ change: (inout SendFaults) -> Void) -> FaultActions {
        var actions = FaultActions()
        change(&actions.send)
        return actions
    }

    func respond(to request: inout EmulatorRequest, handler: EmulatorServer.Handler) -> EmulatorResponse {
        request.body.faults = receive
        request.faults = service
        if ignoresRange { request.headers["Range"] = nil }
        var response: EmulatorResponse
        if let answer {
            response = EmulatorResponse(
                answer.status,
                headers: answer.headers,
                text: answer.body,
                contentType: answer.contentType
            )
        } else {
            response = handler(&request)
        }
        if let wrongBody { alter(&response, wrongBody) }
        for name in dropHeaders { response.headers[name] = nil }
        for field in replaceHeaders.fields { response.headers[field.name] = field.value }
        response.faults = send
        return response
    }

    private func alter(_ response: inout EmulatorResponse, _ wrong: WrongBody) {
        switch wrong {
        case .html:
            response = EmulatorResponse(
                .ok,
                text: "<!DOCTYPE html><html><body>Sign in to the network to continue.</body></html>\n",
                contentType: "text/html; charset=utf-8"
            )
        case .gzip:
            response.headers["Content-Encoding"] = "gzip"
            response.body = .bytes(emptyGzip)
        case .empty:
            response.body = .none
        }
    }
}

// RFC 1952: a member that holds nothing (one stored block of length 0, CRC-32 0, size 0).
private let emptyGzip: [UInt8] = [
    0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, 0x01, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0,
]
