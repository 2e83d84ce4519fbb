package import ObjectStorage

/// What went wrong between us and a Hub.
package struct HubError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// Missing, or private and the token may not see it.
        case repositoryNotFound
        /// No such branch, tag or commit.
        case revisionNotFound
        /// No such file at the revision.
        case entryNotFound
        /// Its owner must grant access first.
        case gated
        /// Switched off by the Hub.
        case disabled
        /// The Hub does not accept the token.
        case badToken
        /// The token is known and may not do this.
        case forbidden
        /// Asked to slow down, for longer than the caller has time.
        case rateLimited
        /// Failed for now; retries are used up.
        case unavailable
        /// The deadline passed.
        case deadlineExceeded
        /// Offline mode: nothing was sent.
        case offline
        /// What came is not what was promised: hash, size, range or encoding differ.
        case integrity
        /// The listing holds a name or two that cannot be stored, or is larger than we accept.
        case unusableListing
        /// An identifier, revision or pattern that makes no sense; nothing was sent.
        case invalidName
        /// The Hub calls the request wrong.
        case invalidRequest
        /// The server does not behave as a Hub does.
        case notAHub
        /// The peer's certificate is not to be trusted.
        case untrusted
        /// The server cannot do what is needed, for example ranges.
        case unsupported
        case cancelled
    }

    package var code: Code
    /// One sentence for a person: what happened, to what, and what to do. Free of secrets.
    package var message: String
    package var status: Int?
    /// The Hub's name for the request, to quote in a support case.
    package var requestID: String?

    package init(_ code: Code, _ message: String, status: Int? = nil, requestID: String? = nil) {
        self.code = code
        self.message = message
        self.status = status
        self.requestID = requestID
    }

    /// Whether the same call may succeed later without anybody changing anything.
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

    /// The same error in the words of a source of ranges.
    package var asObjectStoreError: ObjectStoreError {
        ObjectStoreError(objectStoreCode, message, status: status, requestID: requestID)
    }

    private var objectStoreCode: ObjectStoreError.Code {
        switch code {
        case .repositoryNotFound, .revisionNotFound, .disabled: .containerNotFound
        case .entryNotFound: .notFound
        case .gated, .forbidden: .forbidden
        case .badToken: .unauthenticated
        case .rateLimited: .rateLimited
        case .unavailable, .offline: .unavailable
        case .deadlineExceeded: .deadlineExceeded
        case .integrity: .integrity
        case .invalidName: .invalidName
        case .invalidRequest: .invalidRequest
        case .unusableListing, .notAHub, .untrusted: .protocolViolation
        case .unsupported: .unsupported
        case .cancelled: .cancelled
        }
    }
}
