import Glibc
import LinuxPlatform

/// A file that somebody else keeps a fresh access token in. It is read again whenever it has changed.
///
/// The first line is the token; nobody says how long it is good.
final class TokenFile: TokenProvider {
    /// What changes when a file is rewritten or replaced.
    private struct Identity: Equatable {
        var device: UInt
        var inode: UInt
        var size: Int
        var seconds: Int
        var nanoseconds: Int
    }

    let label: String
    private let path: String
    private let identity: Lock<Identity?>

    init(path: String) {
        self.path = path
        label = "access token of \(path)"
        identity = Lock(nil)
    }

    func fetch() async throws(CredentialError) -> AccessToken {
        // Before the contents: a change in between is then seen by the next look.
        let seen = look()
        let bytes = try CredentialFile.contents(path, what: "the access token file")
        let line = bytes.prefix { $0 != 0x0A && $0 != 0x0D }
        let text = String(decoding: line, as: UTF8.self)
        guard AccessToken.isSendable(text) else {
            throw CredentialError(.invalid, "the first line of \(path) is not an access token")
        }
        identity.withLock { $0 = seen }
        return AccessToken(secret: text, expiry: nil)
    }

    func isCurrent() -> Bool {
        let seen = look()
        return identity.withLock { $0 == seen && seen != nil }
    }

    private func look() -> Identity? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Identity(
            device: UInt(status.st_dev),
            inode: UInt(status.st_ino),
            size: Int(status.st_size),
            seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec
        )
    }
}
