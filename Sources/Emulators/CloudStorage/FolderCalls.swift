import Checksums
import LinuxPlatform

/// Folders and long-running operations of buckets with a hierarchical namespace. Source: Folders resource.
extension StorageAPI {
    func folderCall(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ path: [String],
        _ method: String
    ) throws(APIError) -> EmulatorResponse {
        let isHierarchical = try service.read { (state) throws(APIError) in try state.bucket(bucket).isHierarchical }
        guard isHierarchical else {
            throw APIError(409, "conflict", "The bucket does not have a hierarchical namespace.")
        }
        switch (path.count, method) {
        case (0, "GET"): return try listFolders(request, bucket)
        case (0, "POST"): return try createFolder(&request, bucket)
        case (1, "GET"): return try getFolder(request, bucket, path[0])
        case (1, "DELETE"): return try deleteFolder(request, bucket, path[0])
        case (4, "POST") where path[1] == "renameTo" && path[2] == "folders":
            return try renameFolder(request, bucket, path[0], to: path[3])
        default: throw .noRoute
        }
    }

    private func createFolder(_ request: inout EmulatorRequest, _ bucket: String) throws(APIError)
        -> EmulatorResponse
    {
        let body = try jsonBody(&request)
        let isRecursive = request.target.flag("recursive")
        guard let name = body["name"]?.text, let key = folderKey(name) else {
            throw .invalid("A folder's name must end with a slash.")
        }
        let now = service.now
        let folder = try service.transact { (state, change) throws(APIError) in
            let known = try state.bucket(bucket).folders
            guard known[key] == nil else { throw .conflict("The folder you tried to create already exists.") }
            let missing = parents(of: name).filter { known[$0] == nil }
            guard isRecursive || missing.isEmpty else {
                throw APIError(404, "notFound", "The parent folder does not exist.")
            }
            let folder = StoredBucket.Folder(created: now, updated: now)
            try state.update(bucket, &change) { bucket in
                for key in missing + [key] { bucket.folders[key] = folder }
            }
            return folder
        }
        return try answer(request, resource(folder, key, bucket))
    }

    private func getFolder(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let folder = try service.read { (state) throws(APIError) in try state.folder(bucket, NameKey(name)) }
        return try answer(request, resource(folder, NameKey(name), bucket))
    }

    private func deleteFolder(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let key = NameKey(name)
        let conditions = try Preconditions(query: request.target)
        try service.transact { (state, change) throws(APIError) in
            let folder = try state.folder(bucket, key)
            if let wanted = conditions.metagenerationMatch, wanted != folder.metageneration { throw .conditionNotMet }
            let content = try state.bucket(bucket)
            let behind = NameKey(key.bytes + [0])
            let isEmpty = [content.objects.first(from: key), content.folders.first(from: behind)].allSatisfy { name in
                name.map { !$0.bytes.starts(with: key.bytes) } ?? true
            }
            guard isEmpty else { throw .conflict("The folder you tried to delete is not empty.") }
            try state.update(bucket, &change) { $0.folders[key] = nil }
        }
        return EmulatorResponse(204)
    }

    private func listFolders(_ request: EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        let prefix = Array((request.query("prefix") ?? "").utf8)
        let delimiter = request.query("delimiter") == "/"
        let limit = try request.target.int64("pageSize").map { Int(clamping: max(1, min($0, 1000))) } ?? 1000
        let start =
            request.query("pageToken").flatMap(Base64.decode) ?? Array((request.query("startOffset") ?? "").utf8)
        let end = request.query("endOffset").map { NameKey($0) }
        let folders = try service.read { (state) throws(APIError) in try state.bucket(bucket).folders }
        let wanted = folders.keys.filter { key in
            guard key.bytes.starts(with: prefix), !(key < NameKey(start)), end.map({ key < $0 }) ?? true else {
                return false
            }
            // With a delimiter: the folder that is the prefix, and those one level below it.
            let rest = key.bytes.dropFirst(prefix.count)
            return !delimiter || rest.firstIndex(of: UInt8(ascii: "/")) == rest.indices.last
        }
        let items = wanted.prefix(limit).compactMap { key in folders[key].map { resource($0, key, bucket) } }
        var page: JSONValue = ["kind": "storage#folders"]
        if !items.isEmpty { page["items"] = .array(items) }
        if wanted.count > limit { page["nextPageToken"] = .string(Base64.encode(wanted[limit].bytes)) }
        return try answer(request, page)
    }

    private func renameFolder(
        _ request: EmulatorRequest,
        _ bucket: String,
        _ source: String,
        to destination: String
    ) throws(APIError) -> EmulatorResponse {
        guard let from = folderKey(source), let to = folderKey(destination), !to.bytes.starts(with: from.bytes) else {
            throw .invalid("A folder cannot be renamed into itself, and names end with a slash.")
        }
        let conditions = try Preconditions(query: request.target, source: true)
        let now = service.now
        let operation = try service.transact { (state, change) throws(APIError) in
            let folder = try state.folder(bucket, from)
            if let wanted = conditions.metagenerationMatch, wanted != folder.metageneration { throw .conditionNotMet }
            let folders = try state.bucket(bucket).folders
            guard folders[to] == nil else { throw .conflict("The destination folder already exists.") }
            guard parents(of: destination).allSatisfy({ folders[$0] != nil }) else {
                throw APIError(404, "notFound", "The parent of the destination folder does not exist.")
            }
            try state.moveSubtree(in: bucket, from, to, now: now, &change)
            let renamed = try state.folder(bucket, to)
            return state.addOperation(bucket, response: self.resource(renamed, to, bucket), now: now)
        }
        return try answer(request, operation)
    }

    func operationCall(
        _ request: EmulatorRequest,
        _ bucket: String,
        _ path: [String],
        _ method: String
    ) throws(APIError) -> EmulatorResponse {
        let operations = try service.read { (state) throws(APIError) in
            _ = try state.bucket(bucket)
            return state.operations
        }
        let prefix = "projects/_/buckets/\(bucket)/operations/"
        switch (path.count, method) {
        case (0, "GET"):
            let own = operations.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }.map(\.value)
            return try answer(request, ["kind": "storage#operations", "operations": .array(own)])
        case (1, "GET"):
            guard let operation = operations[prefix + path[0]] else {
                throw APIError(404, "notFound", "The operation does not exist.")
            }
            // The first look finds it done: the rename itself was atomic.
            var done = operation
            done["done"] = true
            done["response"] = operation["metadata"]?["result"]
            return try answer(request, done)
        case (2, "POST") where path[1] == "cancel": return EmulatorResponse(.ok, headers: [:], body: .none)
        default: throw .noRoute
        }
    }

    private func resource(_ folder: StoredBucket.Folder, _ key: NameKey, _ bucket: String) -> JSONValue {
        [
            "kind": "storage#folder", "id": .string("\(bucket)/\(key.text)"), "name": .string(key.text),
            "bucket": .string(bucket), "metageneration": .int64(folder.metageneration),
            "createTime": .string(folder.created.description), "updateTime": .string(folder.updated.description),
        ]
    }
}

/// The key of a folder; nil when the name does not end with a slash or is too long.
private func folderKey(_ name: String) -> NameKey? {
    name.utf8.last == UInt8(ascii: "/") && name.utf8.count > 1 && name.utf8.count <= 512 ? NameKey(name) : nil
}

extension StorageState {
    fileprivate func folder(_ bucket: String, _ key: NameKey) throws(APIError) -> StoredBucket.Folder {
        guard let folder = try self.bucket(bucket).folders[key] else {
            throw APIError(404, "notFound", "The folder does not exist.")
        }
        return folder
    }

    /// Moves a folder with all that is below it; objects keep their content and get new generations.
    fileprivate mutating func moveSubtree(
        in bucket: String,
        _ from: NameKey,
        _ to: NameKey,
        now: UnixTime,
        _ change: inout Change
    ) throws(APIError) {
        let content = try self.bucket(bucket)
        let renamed: (NameKey) -> NameKey = { NameKey(to.bytes + $0.bytes.dropFirst(from.bytes.count)) }
        try update(bucket, &change) { bucket in
            for key in content.folders.keys where key.bytes.starts(with: from.bytes) {
                var folder = content.folders[key]
                folder?.updated = now
                folder?.metageneration += 1
                bucket.folders[key] = nil
                bucket.folders[renamed(key)] = folder
            }
        }
        for key in content.objects.keys where key.bytes.starts(with: from.bytes) {
            guard let object = content.objects[key] else { continue }
            let draft = Draft(
                bucket: bucket,
                name: renamed(key).text,
                extents: object.extents,
                checksum: object.checksum,
                md5: object.md5,
                componentCount: object.componentCount,
                attributes: object.attributes
            )
            _ = try insert(draft, Preconditions(), now: now, &change)
            delete(object, &change)
        }
    }

    /// An operation that is not done at first sight; its result is kept for the first poll.
    fileprivate mutating func addOperation(_ bucket: String, response: JSONValue, now: UnixTime) -> JSONValue {
        let name = "projects/_/buckets/\(bucket)/operations/\(nextNumber(now))"
        let operation: JSONValue = [
            "kind": "storage#operation", "name": .string(name), "done": false,
            "metadata": ["createTime": .string(now.description), "result": response],
        ]
        operations[name] = operation
        return operation
    }
}
