import HTTPEngine
import ObjectStorage

/// What a server's refusal means. The status decides; the body only gives text and reason.
///
/// Source: Cloud Storage, "HTTP status and error codes for JSON" and "for XML".
struct ErrorReply: Sendable, Equatable {
    /// The JSON API's `reason` or the XML API's `Code`.
    var reason: String?
    /// What the server says, at most 300 printable characters.
    var text: String
    var status: Int

    private struct Document: Decodable {
        struct Failure: Decodable {
            struct Item: Decodable {
                var reason: String?
                var message: String?
            }
            var message: String?
            var items: [Item]

            enum CodingKeys: String, CodingKey {
                case message
                case items = "errors"
            }

            /// Lenient: emulators put objects where texts belong.
            init(from decoder: any Decoder) throws {
                let container = try decoder.container(keyedBy: CodingKeys.self)
                message = try? container.decode(String.self, forKey: .message)
                items = (try? container.decode([Item].self, forKey: .items)) ?? []
            }
        }
        var error: Failure
    }

    init(status: Int, body: [UInt8]) {
        self.status = status
        let bounded = body.count > 65_536 ? [] : body
        let start = bounded.first { $0 > 0x20 }
        if start == UInt8(ascii: "{"), let document = JSONValues.decode(Document.self, from: bounded) {
            reason = document.error.items.lazy.compactMap(\.reason).first
            text = Self.shown(document.error.message ?? document.error.items.lazy.compactMap(\.message).first ?? "")
        } else if start == UInt8(ascii: "<"), let root = XMLElement.parse(bounded), root.name == "Error" {
            reason = root["Code"].map(Self.shown)
            text = Self.shown([root["Message"], root["Details"]].compactMap { $0 }.joined(separator: " "))
        } else {
            text = Self.shown(String(decoding: body.prefix(1200), as: UTF8.self))
        }
    }

    var isThrottle: Bool {
        if status == 429 { return true }
        let reasons: Set = ["rateLimitExceeded", "userRateLimitExceeded", "SlowDown"]
        return status == 403 && reason.map(reasons.contains) == true
    }

    var code: ObjectStoreError.Code {
        if isThrottle { return .rateLimited }
        switch status {
        case 400 where speaksOfChecksum: return .integrity
        case 401: return .unauthenticated
        case 403 where reason == "quotaExceeded": return .noSpace
        case 403: return .forbidden
        case 404 where speaksOfBucket: return .containerNotFound
        case 404: return .notFound
        case 405, 501: return .unsupported
        case 409, 412, 304: return .preconditionFailed
        case 410, 499: return .sessionLost
        case 416: return .outOfRange
        case 408, 500..<600: return .unavailable
        case 400..<500: return .invalidRequest
        default: return .protocolViolation
        }
    }

    /// A sentence about `subject`.
    func error(_ subject: String, requestID: String?) -> ObjectStoreError {
        let detail = text.isEmpty ? "" : ": \(text)"
        return ObjectStoreError(code, "\(subject): \(meaning)\(detail)", status: status, requestID: requestID)
    }

    private var meaning: String {
        switch code {
        case .unauthenticated: "the server does not accept the credentials"
        case .forbidden: "not allowed with these credentials"
        case .containerNotFound: "the bucket does not exist"
        case .notFound: "not found"
        case .preconditionFailed: "it changed, or exists already"
        case .rateLimited: "the server asks to slow down"
        case .unavailable: "the server failed for now"
        case .integrity: "the server saw another checksum than was sent"
        case .unsupported: "the server cannot do this"
        case .sessionLost: "the upload session is gone"
        case .outOfRange: "the range is outside of the object"
        case .noSpace: "a quota is used up"
        default: "refused"
        }
    }

    private var speaksOfChecksum: Bool {
        if let reason, ["BadDigest", "InvalidDigest", "CrcMismatch"].contains(reason) { return true }
        let lowered = text.lowercased()
        return ["crc32c", "md5", "checksum", "digest"].contains { lowered.contains($0) }
    }

    private var speaksOfBucket: Bool {
        if reason == "NoSuchBucket" { return true }
        let lowered = text.lowercased()
        return lowered.contains("bucket does not exist") || lowered.contains("bucket not found")
            || lowered.contains("no such bucket")
    }

    private static func shown(_ text: String) -> String {
        let line = text.unicodeScalars.prefix(300).map { $0.value < 32 || $0.value == 127 ? " " : String($0) }.joined()
        return line.split(separator: " ").joined(separator: " ")
    }
}
