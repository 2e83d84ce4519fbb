package import LinuxPlatform

/// A bearer token. Its text appears in no description.
package struct AccessToken: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// What goes behind `Bearer `. Never log it.
    package let secret: String
    /// When the issuer stops accepting it; nil when it did not say.
    package let expiry: MonotonicInstant?

    package init(secret: String, expiry: MonotonicInstant?) {
        self.secret = secret
        self.expiry = expiry
    }

    package var description: String { "access token (redacted)" }
    package var debugDescription: String { description }
    /// Keeps `dump` and string interpolation of whatever holds a token from reaching the secret.
    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// Whether `secret` can stand in a header field: RFC 6750, section 2.1, calls it b64token.
    static func isSendable(_ secret: String) -> Bool {
        !secret.isEmpty && secret.utf8.count <= 16_384 && secret.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}
