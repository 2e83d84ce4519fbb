import Checksums
import LinuxPlatform

/// Signs URLs of the storage host and checks them: an HMAC over path and expiry, as CloudFront and the like do it.
struct URLSigner: Sendable {
    enum Verdict: Equatable {
        case valid
        case expired
        case forged
    }

    private let secret: [UInt8]
    /// Counts up to make every URL signed before it old.
    var epoch = 0

    init() { secret = (0..<32).map { _ in UInt8.random(in: .min ... .max) } }

    /// The query for a path, with its `?`.
    func query(path: String, expires: UnixTime) -> String {
        let signature = sign(path, "\(expires.seconds)", "\(epoch)")
        return "?Expires=\(expires.seconds)&Key-Pair-Id=EPOCH\(epoch)&Signature=\(signature)"
    }

    func check(_ target: RequestTarget, now: UnixTime) -> Verdict {
        guard let expires = target.value("Expires").flatMap(Int64.init), let key = target.value("Key-Pair-Id"),
            key.hasPrefix("EPOCH"), let signed = target.value("Signature"),
            sign(target.rawPath, "\(expires)", String(key.dropFirst(5))) == signed
        else { return .forged }
        return now.seconds < expires && key == "EPOCH\(epoch)" ? .valid : .expired
    }

    private func sign(_ path: String, _ expires: String, _ epoch: String) -> String {
        hmacSHA256(key: secret, Array("\(path)\n\(expires)\n\(epoch)".utf8)).hex
    }
}

/// HMAC with SHA-256 (RFC 2104), for keys of at most 64 bytes.
func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> SHA256Digest {
    let padded = key + [UInt8](repeating: 0, count: 64 - key.count)
    let inner = SHA256Digest.of(padded.map { $0 ^ 0x36 } + message)
    return SHA256Digest.of(padded.map { $0 ^ 0x5C } + inner.bytes)
}
