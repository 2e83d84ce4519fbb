import Checksums
import HTTPEngine

/// `x-goog-hash`: one header with a list, or several headers.
enum HashHeader {
    /// Of the whole object as stored, whatever range the body is.
    static func crc32c(_ headers: HTTPHeaders) -> CRC32C? {
        for value in headers.all("x-goog-hash") {
            for item in value.split(separator: ",") {
                let trimmed = item.drop { $0 == " " }
                guard trimmed.hasPrefix("crc32c=") else { continue }
                return CRC32C(base64: String(trimmed.dropFirst(7).prefix { $0 != " " }))
            }
        }
        return nil
    }
}
