import Foundation
import LinuxPlatform
import Testing

@testable import Emulators

/// The Cloud Storage emulator without its sockets: requests in, responses out.
final class CloudStorageHarness {
    struct Reply {
        let status: Int
        let headers: HeaderFields
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        var json: JSONValue { JSONValue(parsing: body) ?? .null }
    }

    let root: String
    let router: CloudStorageRouter

    /// Opens the root if one is given, and else an empty one that goes with the harness.
    init(root: String? = nil, computesMD5: Bool = false, requiresToken: Bool = false) throws {
        self.root = root ?? NSTemporaryDirectory() + "emulators-tests-\(UUID().uuidString)"
        router = CloudStorageRouter(
            service: try StorageService(root: self.root, computesMD5: computesMD5),
            tokens: AccessTokens(isRequired: requiresToken),
            externalOrigin: nil
        )
        if root == nil { _ = call("POST", "/storage/v1/b?project=p", body: #"{"name":"bkt"}"#) }
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    @discardableResult
    func call(
        _ method: String,
        _ target: String,
        _ headers: HeaderFields = [:],
        body: [UInt8],
        faults: ProtocolFaults = ProtocolFaults()
    ) -> Reply {
        guard let parsed = RequestTarget(target) else { return Reply(status: 400, headers: [:], body: []) }
        var request = EmulatorRequest(
            method: method,
            target: parsed,
            headers: headers,
            body: RequestBody(bytes: body),
            faults: faults
        )
        let response = router.respond(to: &request)
        return Reply(status: response.status.code, headers: response.headers, body: Self.bytes(response.body))
    }

    @discardableResult
    func call(
        _ method: String,
        _ target: String,
        _ headers: HeaderFields = [:],
        body: String = "",
        faults: ProtocolFaults = ProtocolFaults()
    ) -> Reply {
        call(method, target, headers, body: Array(body.utf8), faults: faults)
    }

    /// Uploads in one request and says the generation.
    @discardableResult
    func put(_ name: String, _ content: String = "x", bucket: String = "bkt") throws -> Int64 {
        let reply = call(
            "POST",
            "/upload/storage/v1/b/\(bucket)/o?uploadType=media&name=\(percentEncoded(name))",
            body: content
        )
        return try #require(reply.json["generation"]?.int64)
    }

    /// The target of a new upload session.
    func startSession(_ name: String, query: String = "", _ headers: HeaderFields = [:], body: String = "") throws
        -> String
    {
        let reply = call(
            "POST",
            "/upload/storage/v1/b/bkt/o?uploadType=resumable&name=\(name)\(query)",
            headers,
            body: body
        )
        let location = try #require(reply.headers["Location"])
        return try #require(RequestTarget(location)).raw
    }

    func content(_ name: String) -> String? {
        let reply = call("GET", "/storage/v1/b/bkt/o/\(percentEncoded(name))?alt=media")
        return reply.status == 200 ? reply.text : nil
    }

    func names(_ query: String = "") -> [String] {
        (call("GET", "/storage/v1/b/bkt/o?\(query)").json["items"]?.elements ?? []).compactMap { $0["name"]?.text }
    }

    var blobCount: Int { (try? FileManager.default.contentsOfDirectory(atPath: root + "/blobs").count) ?? -1 }

    private static func bytes(_ body: EmulatorResponse.Body) -> [UInt8] {
        switch body {
        case .none: return []
        case .bytes(let bytes): return bytes
        case .files(let segments):
            return segments.flatMap { segment -> [UInt8] in
                let buffer = BufferLease(size: max(1, segment.count))
                let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<segment.count])
                let count = try? segment.file.descriptor.read(into: wanted, at: segment.offset)
                return Array(wanted[..<(count ?? 0)])
            }
        }
    }
}
