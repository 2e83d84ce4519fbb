import Checksums
import LinuxPlatform
import ObjectStorage

/// What this process knows of the upload sessions it opened: what the finished object must be.
///
/// A session that another process opened is not in it; its caller compares by itself.
final class UploadSessionLedger: Sendable {
    struct Entry: Sendable {
        var expectation: GoogleCloudStorage.Expectation
        /// A chunk failed without an answer: it may still be landing.
        var isUnsettled = false
    }

    /// Forgotten sessions cost memory only; past this the oldest knowledge goes.
    static let capacity = 4096

    private let entries = Lock([String: Entry]())

    func add(_ session: UploadSession, _ expectation: GoogleCloudStorage.Expectation) {
        entries.withLock { entries in
            if entries.count >= Self.capacity, let some = entries.keys.first { entries[some] = nil }
            entries[session.secretURI] = Entry(expectation: expectation)
        }
    }

    func entry(_ session: UploadSession) -> Entry? { entries.withLock { $0[session.secretURI] } }

    func setUnsettled(_ session: UploadSession, _ isUnsettled: Bool) {
        entries.withLock { $0[session.secretURI]?.isUnsettled = isUnsettled }
    }

    func remove(_ session: UploadSession) { entries.withLock { $0[session.secretURI] = nil } }
}

/// The ranges of the resumable protocol.
///
/// Source: Cloud Storage, "Resumable uploads"; RFC 9110, section 14.4.
enum UploadRange {
    /// Chunks but the last are multiples of this.
    static let granularity = 256 * 1024

    /// `Content-Range` of a chunk.
    static func header(offset: Int, count: Int, isLast: Bool) -> String {
        let total = isLast ? String(offset + count) : "*"
        return count == 0 ? "bytes */\(total)" : "bytes \(offset)-\(offset + count - 1)/\(total)"
    }

    /// How many bytes a 308 says are stored: none without a header, nil when the header makes no sense.
    static func persisted(_ range: String?) -> Int? {
        guard let range else { return 0 }
        guard range.utf8.count <= 64, range.hasPrefix("bytes=0-"), let last = Int(range.dropFirst(8)), last >= 0,
            last < Int.max
        else { return nil }
        return last + 1
    }
}
