/// What goes wrong while a response is sent. Offsets count bytes of the body.
package struct SendFaults: Sendable, Equatable {
    /// A wait before the first byte of the head.
    package var latency: Duration = .zero
    package var bytesPerSecond: Int?
    /// Once this many bytes were sent, nothing more for `stall`.
    package var stallAt: Int?
    package var stall: Duration = .zero
    /// Once this many bytes were sent, the connection ends; `Content-Length` still promises the whole.
    package var truncateAt: Int?
    /// Ends by a reset instead of an orderly close.
    package var resets = false
    /// The lowest bit of this byte is sent inverted.
    package var flipBitAt: Int?
    /// The request was carried out, and its answer is lost: a reset instead of the response.
    package var losesReply = false

    package init() {}
}

/// What goes wrong while a request's body is received. Offsets count bytes of the body.
package struct ReceiveFaults: Sendable, Equatable {
    package var bytesPerSecond: Int?
    /// The lowest bit of this byte arrives inverted.
    package var flipBitAt: Int?
    /// Once this many bytes were received, the connection is reset.
    package var resetAt: Int?

    package init() {}
}

/// What a service gets wrong in its protocol; a handler honours those that concern it.
package struct ProtocolFaults: Sendable, Equatable {
    /// A resumable upload persists and acknowledges at most so many bytes of this request.
    package var acknowledgeAtMost: Int?
    /// The upload session of this request is gone, with this status (404 or 410).
    package var expiresSession: HTTPStatus?
    /// This page of a listing is empty, and has a token for the next.
    package var emptyPage = false

    package init() {}
}
