import Glibc
import LinuxPlatform

/// A document that holds a credential, as Google's tools write it. Its fields are secrets: it is never printed.
///
/// Source: AIP-4110 and the `type`s that google-auth reads.
struct CredentialDocument: Decodable, Sendable {
    struct Impersonation: Decodable, Sendable {
        var tokenLifetimeSeconds: LenientInteger?
    }
    struct Source: Decodable, Sendable {
        struct Format: Decodable, Sendable {
            var type: String?
            var subjectTokenFieldName: String?
        }
        struct Executable: Decodable, Sendable {
            var command: String?
            var timeoutMillis: LenientInteger?
            var outputFile: String?
        }
        var file: String?
        var url: String?
        var headers: [String: String]?
        var format: Format?
        var executable: Executable?
        var environmentId: String?
    }
    /// The credential inside an `impersonated_service_account`: a document in a document.
    final class Nested: Decodable, Sendable {
        let document: CredentialDocument
        init(from decoder: any Decoder) throws { document = try CredentialDocument(from: decoder) }
    }

    var type: String?
    var universeDomain: String?
    var quotaProjectId: String?
    var clientEmail: String?
    var privateKey: String?
    var privateKeyId: String?
    var tokenUri: String?
    var clientId: String?
    var clientSecret: String?
    var refreshToken: String?
    var account: String?
    var audience: String?
    var subjectTokenType: String?
    var tokenUrl: String?
    var serviceAccountImpersonationUrl: String?
    var serviceAccountImpersonation: Impersonation?
    var credentialSource: Source?
    var sourceCredentials: Nested?
    var delegates: [String]?
}

/// Reads small files: credentials, and what they refer to.
enum CredentialFile {
    static let limit = 1 << 20

    /// The document at `path`.
    static func document(_ path: String) throws(CredentialError) -> CredentialDocument {
        let bytes = try contents(path, what: "the credentials file")
        guard let document = JSONText.decode(CredentialDocument.self, from: bytes) else {
            throw CredentialError(.invalid, "the credentials file \(path) is not a JSON document of credentials")
        }
        return document
    }

    /// The bytes of a regular file of at most 1 MiB.
    static func contents(_ path: String, what: String) throws(CredentialError) -> [UInt8] {
        do {
            let file = try FileDescriptor(path: path, flags: O_RDONLY | O_NONBLOCK)
            var buffer = [UInt8](repeating: 0, count: limit + 1)
            let count = try read(file, &buffer)
            guard count <= limit else { throw CredentialError(.invalid, "\(what) \(path) is larger than 1 MiB") }
            return Array(buffer[..<count])
        } catch let error as Errno {
            throw CredentialError(.invalid, "\(what) \(path) cannot be read: \(error)")
        } catch let error as CredentialError {
            throw error
        } catch {
            throw CredentialError(.invalid, "\(what) \(path) cannot be read")
        }
    }

    /// Until the end: also of a pipe, which process substitution of a shell gives as a file.
    private static func read(_ file: borrowing FileDescriptor, _ buffer: inout [UInt8]) throws(Errno) -> Int {
        let number = file.rawValue
        let flags = fcntl(number, F_GETFL)
        _ = fcntl(number, F_SETFL, flags & ~O_NONBLOCK)
        var done = 0
        while done < buffer.count {
            let count = try retryingOnInterrupt {
                buffer[done...].withUnsafeMutableBytes { Glibc.read(number, $0.baseAddress, $0.count) }
            }
            if count == 0 { break }
            done += count
        }
        return done
    }
}
