import HTTPEngine
import LinuxPlatform
import ObjectStorage
import Testing

@testable import HuggingFaceHub

let cdn = "http://cdn.test/xet/f"
let resolve = "\(endpoint)/acme/tiny/resolve/\(sha)/"

/// What a tap saw, in order.
final class TapRecord: Sendable {
    private let seen = Lock<[UInt8]>([])
    var bytes: [UInt8] { seen.withLock { $0 } }
    var tap: ByteTap {
        { offset, bytes in
            self.seen.withLock { seen in
                // A gap or a repetition shows as a wrong length.
                if offset == seen.count { seen += Array(bytes) } else { seen += [0] }
            }
        }
    }
}

func partial(_ request: HTTPRequest, of content: [UInt8], _ extra: HTTPHeaders = []) -> Scripted {
    guard let text = request.headers["range"]?.dropFirst("bytes=".count) else {
        var headers = extra
        headers.append("Content-Length", "\(content.count)")
        return .reply(200, headers, content)
    }
    let ends = text.split(separator: "-").compactMap { Int($0) }
    var headers = extra
    headers.append("Content-Range", "bytes \(ends[0])-\(ends[1])/\(content.count)")
    headers.append("Content-Length", "\(ends[1] - ends[0] + 1)")
    return .reply(206, headers, Array(content[ends[0]...ends[1]]))
}

/// Answers HEAD of the Hub with a redirect to the CDN, and hands GETs of the CDN on.
func withCDN(
    _ file: HubFile,
    query: String = "?Expires=9000000000&Signature=abc",
    _ get: @escaping ScriptedTransport.Script
) -> ScriptedTransport {
    let size = file.size
    let hash = file.hash.hex
    return ScriptedTransport { request, number in
        if request.method == "HEAD" {
            return .reply(
                302,
                [
                    ("Location", "\(cdn)\(query)"), ("X-Repo-Commit", sha), ("X-Linked-Etag", "\"\(hash)\""),
                    ("X-Linked-Size", "\(size)"), ("Content-Length", "0"),
                ]
            )
        }
        return get(request, number)
    }
}

struct ReadResult {
    var bytes: [UInt8] = []
    var tapped: [UInt8] = []
    var error: ObjectStoreError?
}

func read(
    _ source: HubFileSource,
    _ offset: Int,
    _ count: Int,
    deadline: MonotonicInstant = .distantFuture
) async -> ReadResult {
    // The margins show a write outside of the range.
    let buffer = BufferLease(size: count + 32)
    buffer.bytes.copyBytes(from: [UInt8](repeating: 0xEE, count: count + 32))
    let record = TapRecord()
    var result = ReadResult()
    do throws(ObjectStoreError) {
        try await source.read(
            RangeRead(
                ByteRange(offset: offset, count: count),
                into: buffer,
                at: 16,
                deadline: deadline,
                tap: record.tap
            )
        )
    } catch {
        result.error = error
    }
    result.bytes = Array(buffer.bytes[16..<(16 + count)])
    result.tapped = record.bytes
    #expect(buffer.bytes[..<16].allSatisfy { $0 == 0xEE } && buffer.bytes[(16 + count)...].allSatisfy { $0 == 0xEE })
    return result
}
