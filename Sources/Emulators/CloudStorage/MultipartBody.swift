import LinuxPlatform

/// A `multipart/related` body that lies in a file: a JSON part, then a media part.
///
/// Source: RFC 2387; "multipart upload" of the JSON API.
struct MultipartBody {
    let resource: JSONValue
    /// The type that the media part declares.
    let contentType: String?
    /// Where the content lies in the file.
    let content: Range<Int>

    /// The most bytes before the content.
    private static let headLimit = StorageAPI.jsonLimit

    /// Nil for anything malformed.
    init?(_ file: borrowing FileDescriptor, length: Int, boundary: String) {
        guard let head = Self.bytes(file, 0..<min(length, Self.headLimit)) else { return nil }
        var reader = Reader(bytes: head)
        let delimiter = Array("--\(boundary)".utf8)
        guard reader.skipPast(delimiter), reader.skipLine(), reader.fields() != nil,
            let json = reader.untilLine(delimiter), let resource = JSONValue(parsing: json),
            resource.members != nil, reader.skipLine(), let fields = reader.fields()
        else { return nil }
        self.resource = resource
        contentType = fields["Content-Type"]
        let start = reader.index
        // The content may hold anything, so its end is looked for from the end.
        let tailStart = max(start, length - delimiter.count - 1024)
        guard let tail = Self.bytes(file, tailStart..<length) else { return nil }
        let closing = Array("\n--\(boundary)--".utf8)
        guard let end = tail.lastRange(of: closing) else {
            guard tail.starts(with: closing.dropFirst()), tailStart == start else { return nil }
            content = start..<start
            return
        }
        let hasReturn = end > 0 && tail[end - 1] == 0x0D
        content = start..<max(start, tailStart + end - (hasReturn ? 1 : 0))
    }

    private static func bytes(_ file: borrowing FileDescriptor, _ range: Range<Int>) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var count: Int?
        bytes.withUnsafeMutableBytes { count = try? file.read(into: $0, at: range.lowerBound) }
        return count == range.count ? bytes : nil
    }
}

private struct Reader {
    let bytes: [UInt8]
    var index = 0

    mutating func skipPast(_ wanted: [UInt8]) -> Bool {
        guard bytes[index...].starts(with: wanted) else { return false }
        index += wanted.count
        return true
    }

    /// Skips what is left of a line.
    mutating func skipLine() -> Bool {
        guard let newline = bytes[index...].firstIndex(of: 0x0A) else { return false }
        index = newline + 1
        return true
    }

    /// The header fields of a part, up to and with the empty line.
    mutating func fields() -> HeaderFields? {
        var headers = HeaderFields()
        while let newline = bytes[index...].firstIndex(of: 0x0A) {
            let line = trimmed(String(decoding: bytes[index..<newline].filter { $0 != 0x0D }, as: UTF8.self))
            index = newline + 1
            if line.isEmpty { return headers }
            guard let colon = line.firstIndex(of: ":") else { return nil }
            headers.add(String(line[..<colon]), trimmed(String(line[colon...].dropFirst())))
        }
        return nil
    }

    /// What stands before a line that begins so; the index is behind what it begins with.
    mutating func untilLine(_ delimiter: [UInt8]) -> [UInt8]? {
        let start = index
        var lineStart = index
        while lineStart < bytes.count {
            if bytes[lineStart...].starts(with: delimiter) {
                index = lineStart + delimiter.count
                return Array(bytes[start..<lineStart])
            }
            guard let newline = bytes[lineStart...].firstIndex(of: 0x0A) else { return nil }
            lineStart = newline + 1
        }
        return nil
    }
}

extension [UInt8] {
    /// Where the last occurrence begins.
    fileprivate func lastRange(of part: [UInt8]) -> Int? {
        guard count >= part.count else { return nil }
        return (0...(count - part.count)).last { self[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
