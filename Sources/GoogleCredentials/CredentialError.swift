/// Why there is no access token. The message names the credential and what to do, never a secret.
package struct CredentialError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// Nothing to authenticate with was found anywhere.
        case notFound
        /// A credential was found and cannot be used: a file that is unreadable, malformed, or of an unknown kind.
        case invalid
        /// The issuer of tokens said no: revoked, expired, not permitted.
        case refused
        /// The issuer could not be reached, after retries. It may work later.
        case unavailable
        case cancelled
    }

    package var code: Code
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
