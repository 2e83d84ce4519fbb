/// A request as a handler sees it.
package struct EmulatorRequest {
    package let method: String
    package let target: RequestTarget
    package var headers: HeaderFields
    /// Unread; what the handler leaves is drained after the response.
    package let body: RequestBody
    /// What a fault rule asks the handler to get wrong. Faults of the wire are not here: the server does them.
    package var faults: ProtocolFaults

    package init(
        method: String,
        target: RequestTarget,
        headers: HeaderFields = [:],
        body: RequestBody = RequestBody(bytes: []),
        faults: ProtocolFaults = ProtocolFaults()
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.faults = faults
    }

    /// What links in responses begin with when the server stands behind a proxy; nil to take it from the request.
    package var externalOrigin: String?

    /// The scheme and authority under which the client reached the server, for links in responses.
    package var origin: String { externalOrigin ?? "http://" + (headers["Host"] ?? "127.0.0.1") }

    /// The value of the first query item of that name.
    package func query(_ name: String) -> String? { target.value(name) }
}
