import Checksums
import LinuxPlatform

/// What stands before the content of a `multipart/related` body: a JSON part, and the head of the media part.
///
/// Source: RFC 2387; "multipart upload" of the JSON API.
struct MultipartHead {
    let resource: JSONValue
    /// The type that the media part declares.
    let contentType: String?
    /// How many bytes of the body it takes.
    let count: Int

    /// The most bytes before the content.
    private static let limit = StorageAPI.jsonLimit
    /// The most bytes in which almost every head is whole.
    private static let usualSize = 4 << 10

    /// Reads it, and leaves the body where the content begins.
    ///
    /// - Returns: nil for anything malformed, and for a head that is too long.
    static func read(from body: RequestBody, boundary: String) throws(RequestBody.Failure) -> MultipartHead? {
        var bytes: [UInt8] = []
        var wanted = usualSize
        while true {
            bytes += try body.readSome(wanted - bytes.count)
            if let head = MultipartHead(parsing: bytes, boundary: boundary) {
                body.giveBack(bytes[head.count...])
                return head
            }
            if body.isFinished || wanted == limit { return nil }
            wanted = min(limit, 4 * wanted)
        }
    }

    /// Nil for anything malformed or not whole; what follows the head changes nothing.
    init?(parsing bytes: [UInt8], boundary: String) {
        var reader = Reader(bytes: bytes)
        let delimiter = Array("--\(boundary)".utf8)
        guard reader.skipPast(delimiter), reader.skipLine(), reader.fields() != nil,
            let json = reader.untilLine(delimiter), let resource = JSONValue(parsing: json),
            resource.members != nil, reader.skipLine(), let fields = reader.fields()
        else { return nil }
        self.resource = resource
        contentType = fields["Content-Type"]
        count = reader.index
    }
}

/// The last line of a `multipart/related` body, behind the content.
enum MultipartTail {
    /// Of a file with the content and the tail, how much is content, and the checksum of that.
    ///
    /// The content may hold anything, so its end is looked for from the end.
    ///
    /// - Returns: nil when the closing line is not there.
    static func content(
        of received: RequestBody.Received,
        in file: borrowing FileDescriptor,
        boundary: String
    ) throws(Errno) -> (count: Int, checksum: CRC32C)? {
        let closing = Array("\n--\(boundary)--".utf8)
        let start = max(0, received.count - closing.count - 1024)
        var tail = [UInt8](repeating: 0, count: received.count - start)
        let read = tail.withUnsafeMutableBytes { bytes in
            Result { () throws(Errno) in try file.read(into: bytes, at: start) }
        }
        guard try read.get() == tail.count else { throw .inputOutput }
        let end: Int
        if let newline = tail.lastPosition(of: closing) {
            end = newline > 0 && tail[newline - 1] == 0x0D ? newline - 1 : newline
        } else {
            // No content: the closing line follows the head.
            guard start == 0, tail.starts(with: closing.dropFirst()) else { return nil }
            end = 0
        }
        let suffix = CRC32C.of(Array(tail[end...]))
        return (start + end, received.checksum.removing(suffix: suffix, count: tail.count - end))
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
    fileprivate func lastPosition(of part: [UInt8]) -> Int? {
        guard count >= part.count else { return nil }
        return (0...(count - part.count)).last { self[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
