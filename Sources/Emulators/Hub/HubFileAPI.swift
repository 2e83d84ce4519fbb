import Checksums
import LinuxPlatform

/// Files: `/resolve/`, `/raw/` and what they redirect to.
extension HubService {
    func resolve(
        _ request: EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ snapshot: HubSnapshot,
        _ path: String
    ) -> EmulatorResponse {
        guard let file = snapshot.file(path) else { return missing(snapshot) }
        guard let sha256 = file.sha256 else {
            let escaped = percentEncoded(path, keeping: "/")
            let target =
                "/api/resolve-cache/\(entry.name.key)/\(snapshot.commit)/\(escaped)?etag=%22\(file.oid.hex)%22"
            return EmulatorResponse(
                307,
                headers: ["Location": target, "X-Repo-Commit": snapshot.commit, "Vary": "Origin, Accept"],
                text: "Temporary Redirect. Redirecting to \(target)\n"
            )
        }
        let storagePath = "/\(entry.name.key)/\(sha256.hex)/\(percentEncoded(path, keeping: "/"))"
        let port = storagePort.withLock { $0 }
        let query = state.withLock { state in
            state.stored["\(entry.name.key)/\(sha256.hex)/\(path)"] = file
            let expires = SystemTime().timeOfDay().advanced(by: .seconds(state.options.signedURLSeconds))
            return state.signer.query(path: storagePath, expires: expires)
        }
        let location = "http://\(storageHost(request)):\(port)\(storagePath)\(query)"
        return EmulatorResponse(
            302,
            headers: [
                "Location": location, "X-Repo-Commit": snapshot.commit, "X-Linked-Etag": "\"\(sha256.hex)\"",
                "X-Linked-Size": "\(file.size)", "Accept-Ranges": "bytes", "Vary": "Origin, Accept",
            ],
            text: "Found. Redirecting to the storage host\n"
        )
    }

    private func storageHost(_ request: EmulatorRequest) -> String {
        if let host = options.storageHost { return host }
        let host = request.headers["Host"] ?? "127.0.0.1"
        guard let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") else { return host }
        return String(host[..<colon])
    }

    func resolveCache(
        _ request: EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ snapshot: HubSnapshot,
        _ path: String
    ) -> EmulatorResponse {
        guard let file = snapshot.file(path) else { return missing(snapshot) }
        let etag = "\"\(file.oid.hex)\""
        let headers: HeaderFields = [
            "ETag": etag, "X-Repo-Commit": snapshot.commit, "Accept-Ranges": "bytes", "Content-Type": contentType(path),
            "Content-Disposition": "inline", "Cache-Control": "no-cache",
        ]
        if request.headers["If-None-Match"] == etag { return EmulatorResponse(304, headers: headers) }
        return media(request, file, headers, key: "\(entry.name.key)/\(path)")
    }

    func raw(
        _ request: EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ snapshot: HubSnapshot,
        _ path: String
    ) -> EmulatorResponse {
        guard let file = snapshot.file(path) else { return missing(snapshot) }
        let headers: HeaderFields = ["X-Repo-Commit": snapshot.commit, "Content-Type": "text/plain; charset=utf-8"]
        if let pointer = file.pointer { return EmulatorResponse(.ok, headers: headers, body: .bytes(pointer)) }
        return media(request, file, headers, key: "\(entry.name.key)/\(path)")
    }

    private func missing(_ snapshot: HubSnapshot) -> EmulatorResponse {
        var response = HubRefusal.noEntry
        response.headers.add("X-Repo-Commit", snapshot.commit)
        return response
    }

    private func contentType(_ path: String) -> String {
        path.hasSuffix(".json") || path.hasSuffix(".txt") || path.hasSuffix(".md") || path.hasSuffix(".py")
            ? "text/plain; charset=utf-8" : "application/octet-stream"
    }
}

/// A file's bytes, whole or the one range that was asked for.
func media(
    _ request: EmulatorRequest,
    _ file: HubEmulatedFile,
    _ headers: HeaderFields,
    key: String
) -> EmulatorResponse {
    guard request.method == "GET" || request.method == "HEAD" else {
        return EmulatorResponse(405, text: "GET or HEAD\n")
    }
    guard let open = try? EmulatorResponse.OpenFile(path: file.absolutePath) else {
        return EmulatorResponse(500, text: "the file went away\n")
    }
    var response = EmulatorResponse(.ok, headers: headers)
    var range = 0..<file.size
    switch requestedRange(request.headers, of: headers, size: file.size) {
    case .whole: break
    case .part(let part):
        range = part
        response.status = 206
        response.headers["Content-Range"] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.size)"
    case .unsatisfiable:
        return EmulatorResponse(
            416,
            headers: ["Content-Range": "bytes */\(file.size)"],
            text: "Range Not Satisfiable\n"
        )
    }
    response.body = .file(open, offset: range.lowerBound, count: range.count)
    response.mediaKey = key
    return response
}
