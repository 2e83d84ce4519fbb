package import Manifests
package import ObjectStorage

/// Why something could not be done with checkpoints.
package struct CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// The request makes no sense: a name that cannot be one, a number out of bounds.
        case usage
        /// No such checkpoint, bucket or object.
        case notFound
        /// Not all of the checkpoint is there, so it is not recorded.
        case incomplete
        /// Bytes, or a record, are not what they should be.
        case integrity
        /// Somebody else changed the same checkpoint, or something of theirs stands in the way.
        case conflict
        case credentials
        /// Failed for now; the same command may succeed later.
        case retryable
        case interrupted
        /// The local disk: no room, no permission.
        case disk
        case `internal`
    }

    package var code: Code
    /// For people: what happened to which checkpoint or object, and what to do next. Free of secrets.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// A failure of the store while `doing` something.
    package init(_ error: ObjectStoreError, while doing: String) {
        let code: Code =
            switch error.code {
            case .notFound, .containerNotFound: .notFound
            case .unauthenticated, .forbidden: .credentials
            case .preconditionFailed: .conflict
            case .integrity, .protocolViolation, .unsupported: .integrity
            case .invalidName: .usage
            case .rateLimited, .unavailable, .deadlineExceeded, .sessionLost, .noSpace: .retryable
            case .cancelled: .interrupted
            case .invalidRequest, .outOfRange, .internal: .internal
            }
        self.init(code, "\(doing): \(error)")
    }

    /// A record that cannot be made or read.
    package init(_ error: ManifestError, of place: String) { self.init(.integrity, "\(place): \(error)") }

    package var description: String { message }
}

/// Runs store operations; their failures become `CheckpointError`s that say what was being done.
func during<Value>(
    _ doing: @autoclosure () -> String,
    _ body: () async throws(ObjectStoreError) -> Value
) async throws(CheckpointError) -> Value {
    do throws(ObjectStoreError) {
        return try await body()
    } catch {
        throw CheckpointError(error, while: doing())
    }
}
