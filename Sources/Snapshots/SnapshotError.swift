package import ObjectStorage
package import Publication

/// Why a snapshot could not be conveyed or verified.
package struct SnapshotError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The request makes no sense: nothing matches, or a destination cannot be one.
        case usage
        /// Bytes are not those that were promised.
        case integrity
        /// The repository, revision, file or bucket is missing, or gated.
        case notFound
        case credentials
        /// A stranger's object, or another's change, stands in the way.
        case conflict
        /// Failed for now; the same command may succeed later.
        case retryable
        /// Interrupted with a state from which the same command goes on.
        case interrupted
        case `internal`
    }

    package var code: Code
    /// For people: what happened to which object and what to do next. Free of secrets.
    package var message: String
    /// Part of the work is done and kept: the same command continues.
    package var isResumable: Bool

    package init(_ code: Code, _ message: String, isResumable: Bool = false) {
        self.code = code
        self.message = message
        self.isResumable = isResumable
    }

    package init(_ error: ObjectStoreError, while doing: String) {
        let code: Code =
            switch error.code {
            case .notFound, .containerNotFound: .notFound
            case .unauthenticated, .forbidden: .credentials
            case .preconditionFailed: .conflict
            // What a server cannot do that it must: it ignores ranges and sends other bytes than were asked for.
            case .integrity, .protocolViolation, .unsupported: .integrity
            case .invalidName: .usage
            case .rateLimited, .unavailable, .deadlineExceeded, .sessionLost, .noSpace: .retryable
            case .cancelled: .interrupted
            case .invalidRequest, .outOfRange, .internal: .internal
            }
        self.init(code, "\(doing): \(error)")
    }

    package init(_ error: PublicationError) {
        switch error.code {
        case .conflict: self.init(.conflict, error.message)
        case .busy: self.init(.retryable, error.message)
        case .leaseLost: self.init(.retryable, error.message, isResumable: true)
        case .integrity, .record: self.init(.integrity, error.message)
        case .cancelled: self.init(.interrupted, error.message, isResumable: true)
        case .store:
            if let cause = error.cause {
                self.init(cause, while: "publishing")
                message = error.message
            } else {
                self.init(.internal, error.message)
            }
        }
    }

    package var description: String { message }
}
