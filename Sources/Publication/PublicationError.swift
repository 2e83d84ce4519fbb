package import ObjectStorage

/// Why something could not be published.
package struct PublicationError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// Somebody else's object stands where ours should, or changed while we worked.
        case conflict
        /// Another process has the lease, and lives.
        case busy
        /// Another process took the lease over.
        case leaseLost
        /// What the destination holds is not what was proven.
        case integrity
        /// A record under `.penstock/` cannot be read.
        case record
        /// The store failed; see `cause`.
        case store
        case cancelled
    }

    package var code: Code
    /// For people: what happened to which object and what to do next. Free of secrets.
    package var message: String
    package var cause: ObjectStoreError?

    package init(_ code: Code, _ message: String, cause: ObjectStoreError? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// A failure of the store while `doing` something.
    package init(_ cause: ObjectStoreError, while doing: String) {
        switch cause.code {
        case .cancelled: code = .cancelled
        case .integrity: code = .integrity
        default: code = .store
        }
        message = "\(doing): \(cause)"
        self.cause = cause
    }

    package var description: String { message }
}

/// Runs store operations; their failures become `PublicationError`s that say what was being done.
package func during<Value>(
    _ doing: @autoclosure () -> String,
    _ body: () async throws(ObjectStoreError) -> Value
) async throws(PublicationError) -> Value {
    do throws(ObjectStoreError) {
        return try await body()
    } catch {
        throw PublicationError(error, while: doing())
    }
}
