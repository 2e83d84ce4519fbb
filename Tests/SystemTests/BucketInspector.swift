import Foundation
import FoundationNetworking

/// Looks into an emulated bucket, and damages it, past all code under test: plain requests to the JSON API.
struct BucketInspector: Sendable {
    struct StoredObject: Decodable {
        var name: String
        var size: String
        var generation: String
        var metageneration: String
        var metadata: [String: String]?
        var cacheControl: String?
    }

    struct Refused: Error {
        let method: String
        let target: String
        let status: Int
        let body: String
    }

    let baseURL: String
    let bucket: String

    /// Everything under a prefix, in order.
    func objects(_ prefix: String) async throws -> [StoredObject] {
        struct Page: Decodable {
            var items: [StoredObject]?
            var nextPageToken: String?
        }
        var found: [StoredObject] = []
        var token: String?
        repeat {
            let page = token.map { "&pageToken=\(escaped($0))" } ?? ""
            let body = try await send("GET", "/storage/v1/b/\(bucket)/o?prefix=\(escaped(prefix))\(page)")
            let listed = try JSONDecoder().decode(Page.self, from: body)
            found += listed.items ?? []
            token = listed.nextPageToken
        } while token != nil
        return found
    }

    func names(_ prefix: String) async throws -> [String] { try await objects(prefix).map(\.name) }

    /// The ids of multipart uploads that were neither completed nor aborted.
    func unfinishedUploads(_ prefix: String) async throws -> [String] {
        let body = try await send("GET", "/\(bucket)?uploads&prefix=\(escaped(prefix))")
        let parts = String(decoding: body, as: UTF8.self).components(separatedBy: "<UploadId>").dropFirst()
        return parts.compactMap { $0.components(separatedBy: "<").first }
    }

    func contents(_ name: String) async throws -> Data { try await send("GET", target(name) + "?alt=media") }

    /// Writes whatever stands there.
    func put(_ name: String, _ content: Data, metadata: [String: String] = [:]) async throws {
        _ = try await send(
            "POST",
            "/upload/storage/v1/b/\(bucket)/o?uploadType=media&name=\(escaped(name))",
            content,
            type: "application/octet-stream"
        )
        if !metadata.isEmpty { try await patch(name, metadata) }
    }

    func patch(_ name: String, _ metadata: [String: String]) async throws {
        _ = try await send("PATCH", target(name), try JSONEncoder().encode(["metadata": metadata]))
    }

    /// Makes the bucket anew, empty and with a hierarchical namespace.
    func becomeHierarchical() async throws {
        _ = try await send("DELETE", "/storage/v1/b/\(bucket)")
        let layout =
            #"{"name":"\#(bucket)","hierarchicalNamespace":{"enabled":true},"#
            + #""iamConfiguration":{"uniformBucketLevelAccess":{"enabled":true}}}"#
        _ = try await send("POST", "/storage/v1/b?project=p", Data(layout.utf8))
    }

    func delete(_ name: String) async throws { _ = try await send("DELETE", target(name)) }

    /// Empties a prefix: the disk of a test machine is small.
    func deleteAll(_ prefix: String) async throws { for name in try await names(prefix) { try await delete(name) } }

    private func target(_ name: String) -> String { "/storage/v1/b/\(bucket)/o/\(escaped(name))" }

    private func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(.init(charactersIn: "-._~"))) ?? text
    }

    private func send(
        _ method: String,
        _ target: String,
        _ body: Data? = nil,
        type: String = "application/json"
    ) async throws -> Data {
        guard let url = URL(string: baseURL + target) else { throw URLError(.badURL) }
        var request = URLRequest(url: url)
        request.httpMethod = method
        request.httpBody = body
        if body != nil { request.setValue(type, forHTTPHeaderField: "Content-Type") }
        let (data, response) = try await URLSession.shared.data(for: request)
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        guard (200...299).contains(status) else {
            throw Refused(method: method, target: target, status: status, body: String(decoding: data, as: UTF8.self))
        }
        return data
    }
}
