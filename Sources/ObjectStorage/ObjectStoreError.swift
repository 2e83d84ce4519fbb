/// What went wrong between us and a store of objects, or a source of ranges.
package struct ObjectStoreError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// No such object, generation, folder or upload.
        case notFound
        /// The bucket (or directory, or repository) itself is missing.
        case containerNotFound
        /// The object is not in the state the request required (HTTP 412), or already exists.
        case preconditionFailed
        /// No credentials, or credentials that are not accepted.
        case unauthenticated
        /// Known, and not allowed.
        case forbidden
        /// The name cannot be an object's.
        case invalidName
        /// The request makes no sense to the server; repeating it will not help.
        case invalidRequest
        /// The range lies outside of the object.
        case outOfRange
        /// Asked to slow down (HTTP 429, or a 403 with such a reason).
        case rateLimited
        /// Failed for now: 5xx, connection lost, time out. Retries inside the store are already used up.
        case unavailable
        /// The deadline passed.
        case deadlineExceeded
        /// The bytes are not those that were promised: checksum, length, range or encoding differ.
        case integrity
        /// An upload session expired or was lost; only a new one helps.
        case sessionLost
        /// The server cannot do this at all.
        case unsupported
        /// No room, or a quota is used up.
        case noSpace
        /// The caller cancelled.
        case cancelled
        /// The server broke the protocol.
        case protocolViolation
        /// A defect of ours.
        case `internal`
    }

    package var code: Code
    /// One sentence for a person: what happened, to which object, and what to do when that is known. Free of secrets.
    package var message: String
    /// The HTTP status, where there was one.
    package var status: Int?
    /// The server's name for the request, to quote in a support case.
    package var requestID: String?

    package init(_ code: Code, _ message: String, status: Int? = nil, requestID: String? = nil) {
        self.code = code
        self.message = message
        self.status = status
        self.requestID = requestID
    }

    package static func invalidName(_ name: String, _ complaint: String) -> Self {
        let shown = name.unicodeScalars.prefix(120).map {
            let isShown = $0.properties.generalCategory != .control && !$0.properties.isPatternWhitespace || $0 == " "
            return isShown ? String($0) : "?"
        }
        return Self(.invalidName, "'\(shown.joined())' cannot be used as a name: \(complaint)")
    }

    /// Whether the same request may succeed later without anybody changing anything.
    package var isTransient: Bool {
        switch code {
        case .rateLimited, .unavailable, .deadlineExceeded: true
        default: false
        }
    }

    package var description: String {
        var text = message
        if let status { text += " (HTTP \(status))" }
        if let requestID { text += " [request \(requestID)]" }
        return text
    }
}
