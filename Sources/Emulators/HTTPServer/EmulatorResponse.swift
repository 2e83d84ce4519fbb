package import LinuxPlatform

/// A response as a handler gives it; the server adds `Date`, `Content-Length` and `Connection`.
package struct EmulatorResponse: Sendable {
    /// An open file that several responses may send from; closed with its last reference.
    package final class OpenFile: Sendable {
        let descriptor: FileDescriptor

        /// - Throws: the `errno` of openat(2).
        package init(path: String) throws(Errno) { descriptor = try FileDescriptor(path: path, flags: 0) }
    }

    /// A piece of a file.
    package struct FileSegment: Sendable {
        package let file: OpenFile
        package let offset: Int
        package let count: Int

        package init(file: OpenFile, offset: Int, count: Int) {
            self.file = file
            self.offset = offset
            self.count = count
        }
    }

    package enum Body: Sendable {
        case none
        case bytes([UInt8])
        /// Sent from the page cache by sendfile(2), one after the other.
        case files([FileSegment])

        package static func file(_ file: OpenFile, offset: Int, count: Int) -> Body {
            .files([FileSegment(file: file, offset: offset, count: count)])
        }

        /// The length in bytes.
        package var count: Int {
            switch self {
            case .none: 0
            case .bytes(let bytes): bytes.count
            case .files(let segments): segments.reduce(0) { $0 + $1.count }
            }
        }
    }

    package var status: HTTPStatus
    package var headers: HeaderFields
    package var body: Body
    /// Sends the body in chunks, without a `Content-Length`.
    package var isChunked = false
    /// What goes wrong on the wire while this is sent.
    package var faults = SendFaults()
    /// The name under which the bytes of this body are counted, for tests that count what was fetched twice.
    package var mediaKey: String?

    package init(_ status: HTTPStatus, headers: HeaderFields = [:], body: Body = .none) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A response with a text body.
    package init(
        _ status: HTTPStatus,
        headers: HeaderFields = [:],
        text: String,
        contentType: String = "text/plain; charset=utf-8"
    ) {
        self.init(status, headers: headers, body: .bytes(Array(text.utf8)))
        if self.headers["Content-Type"] == nil { self.headers["Content-Type"] = contentType }
    }
}
