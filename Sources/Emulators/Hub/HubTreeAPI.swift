import Checksums

/// Information, listings and references: `/api/…`.
extension HubService {
    private var moment: JSONValue { "2025-03-06T13:37:44.000Z" }

    func info(
        _ request: EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ revision: String?
    ) throws(HubCatalog.Failure) -> EmulatorResponse {
        let snapshot = try catalog.snapshot(entry, revision: revision ?? "main")
        let withBlobs = request.query("blobs") == "true"
        let siblings = snapshot.files.map { file -> JSONValue in
            var sibling: JSONValue = ["rfilename": .string(file.path)]
            guard withBlobs else { return sibling }
            sibling["size"] = .integer(Int64(file.size))
            sibling["blobId"] = .string(file.oid.hex)
            if let sha256 = file.sha256, let pointer = file.pointer {
                sibling["lfs"] = [
                    "sha256": .string(sha256.hex), "size": .integer(Int64(file.size)),
                    "pointerSize": .integer(Int64(pointer.count)),
                ]
            }
            return sibling
        }
        let id = entry.name.id
        var value: JSONValue = [
            "_id": "66aa66aa66aa66aa66aa66aa", "id": .string(id), "author": .string(author(id)),
            "sha": .string(snapshot.commit),
            "lastModified": moment, "createdAt": moment, "private": .bool(entry.settings.isPrivate),
            "gated": entry.settings.gated.map(JSONValue.string) ?? false, "disabled": .bool(entry.settings.isDisabled),
            "downloads": 1, "likes": 0, "tags": [], "siblings": .array(siblings),
            "usedStorage": .integer(Int64(snapshot.files.reduce(0) { $0 + $1.size })),
        ]
        if entry.name.kind == .models { value["modelId"] = .string(id) }
        return json(value)
    }

    private func author(_ id: String) -> String { id.split(separator: "/").dropLast().first.map(String.init) ?? "" }

    func references(_ request: EmulatorRequest, _ entry: HubCatalog.Entry) throws(HubCatalog.Failure)
        -> EmulatorResponse
    {
        let (branches, tags) = try catalog.references(entry)
        let list = { (names: [String: String], keep: (String) -> Bool, ref: (String) -> String) -> JSONValue in
            let items = names.filter { keep($0.key) }.sorted { $0.key < $1.key }
            return .array(
                items.map { name, commit in
                    let short = name.split(separator: "/").last.map(String.init) ?? name
                    return [
                        "name": .string(name.hasPrefix("refs/") ? short : name), "ref": .string(ref(name)),
                        "targetCommit": .string(commit),
                    ]
                }
            )
        }
        var value: JSONValue = [
            "branches": list(branches, { !$0.hasPrefix("refs/") }, { "refs/heads/\($0)" }),
            "converts": list(branches, { $0.hasPrefix("refs/convert/") }, { $0 }),
            "tags": list(tags, { _ in true }, { "refs/tags/\($0)" }),
        ]
        if request.query("include_prs") == "1" {
            value["pullRequests"] = list(branches, { $0.hasPrefix("refs/pr/") }, { $0 })
        }
        return json(value)
    }

    func commits(_ entry: HubCatalog.Entry, _ revision: String) throws(HubCatalog.Failure) -> EmulatorResponse {
        let snapshot = try catalog.snapshot(entry, revision: revision)
        return json([
            [
                "id": .string(snapshot.commit), "title": "Upload", "message": "", "date": moment,
                "authors": [["user": "tester"]],
            ]
        ])
    }

    func tree(
        _ request: EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ revision: String,
        _ path: String
    ) throws(HubCatalog.Failure) -> EmulatorResponse {
        let snapshot = try catalog.snapshot(entry, revision: revision)
        let expands = request.query("expand") == "true"
        let entries = listing(
            snapshot,
            below: path,
            isRecursive: request.query("recursive") == "true",
            expands: expands
        )
        if entries.isEmpty, !path.isEmpty { return HubRefusal.noEntry }
        let largest = max(1, expands ? options.pageSize / 20 : options.pageSize)
        let limit = min(largest, max(1, request.query("limit").flatMap(Int.init) ?? largest))
        guard let start = cursorOffset(request.query("cursor")), start <= entries.count else {
            return HubRefusal.response(400, code: nil, "Invalid cursor")
        }
        let end = min(entries.count, start + limit)
        var response = json(.array(Array(entries[start..<end])))
        if end < entries.count {
            var items = request.target.query.filter { $0.name != "cursor" && $0.name != "limit" }.map {
                ($0.name, $0.value)
            }
            items += [("limit", "\(limit)"), ("cursor", "o\(String(end, radix: 16))")]
            let query = items.map { "\(percentEncoded($0.0))=\(percentEncoded($0.1))" }.joined(separator: "&")
            response.headers.add("Link", "<\(request.origin)\(request.target.rawPath)?\(query)>; rel=\"next\"")
        }
        return response
    }

    private func cursorOffset(_ cursor: String?) -> Int? {
        guard let cursor else { return 0 }
        guard cursor.hasPrefix("o"), cursor.utf8.count <= 12 else { return nil }
        return Int(cursor.dropFirst(), radix: 16).flatMap { $0 >= 0 ? $0 : nil }
    }

    private func listing(
        _ snapshot: HubSnapshot,
        below path: String,
        isRecursive: Bool,
        expands: Bool
    ) -> [JSONValue] {
        let prefix = path.isEmpty ? "" : path + "/"
        let isListed = { (candidate: String) -> Bool in
            guard candidate.hasPrefix(prefix) else { return false }
            return isRecursive || !candidate.dropFirst(prefix.count).contains("/")
        }
        var found: [(path: String, value: JSONValue)] = []
        for directory in snapshot.directories where isListed(directory.path) {
            found.append((directory.path, treeEntry(directory.path, directory.oid)))
        }
        for file in snapshot.files where isListed(file.path) {
            found.append((file.path, treeEntry(file, commit: expands ? snapshot.commit : nil)))
        }
        return found.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }.map(\.value)
    }

    private func treeEntry(_ directory: String, _ oid: SHA1Digest) -> JSONValue {
        ["type": "directory", "oid": .string(oid.hex), "size": 0, "path": .string(directory)]
    }

    private func treeEntry(_ file: HubEmulatedFile, commit: String?) -> JSONValue {
        var value: JSONValue = [
            "type": "file", "oid": .string(file.oid.hex), "size": .integer(Int64(file.size)),
            "path": .string(file.path),
        ]
        if let sha256 = file.sha256, let pointer = file.pointer {
            value["lfs"] = [
                "oid": .string(sha256.hex), "size": .integer(Int64(file.size)),
                "pointerSize": .integer(Int64(pointer.count)),
            ]
        }
        if let commit {
            value["lastCommit"] = ["id": .string(commit), "title": "Upload", "date": moment]
            value["securityFileStatus"] = ["status": "unscanned"]
        }
        return value
    }

    func pathsInfo(
        _ request: inout EmulatorRequest,
        _ entry: HubCatalog.Entry,
        _ revision: String
    ) throws(HubCatalog.Failure) -> EmulatorResponse {
        guard request.method == "POST", let body = try? request.body.readAll(limit: 8 << 20),
            let paths = requestedPaths(request, body)
        else { return HubRefusal.response(400, code: nil, "paths is required") }
        let snapshot = try catalog.snapshot(entry, revision: revision)
        let values = paths.compactMap { path -> JSONValue? in
            if let file = snapshot.file(path) { return treeEntry(file, commit: nil) }
            return snapshot.directories.first { $0.path == path }.map { treeEntry($0.path, $0.oid) }
        }
        return json(.array(values))
    }

    private func requestedPaths(_ request: EmulatorRequest, _ body: [UInt8]) -> [String]? {
        if request.headers["Content-Type"]?.hasPrefix("application/json") == true {
            return JSONValue(parsing: body)?["paths"]?.elements?.compactMap(\.text)
        }
        return decodedForm(body[...])?.filter { $0.name == "paths" }.map(\.value)
    }
}
