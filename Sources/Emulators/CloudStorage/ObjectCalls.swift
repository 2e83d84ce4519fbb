/// Objects: get, list, delete, patch. Source: Objects resource of the JSON API.
extension StorageAPI {
    func getObject(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError) -> EmulatorResponse {
        let object = try find(request, bucket, name)
        var conditions = try Preconditions(query: request.target)
        conditions.etagMatch = request.headers["If-Match"]
        conditions.etagNotMatch = request.headers["If-None-Match"]
        try conditions.check(object, isRead: true)
        if request.query("alt") == "media" {
            return try content(of: object, request, isXML: false)
        }
        var response = try answer(request, object.resource(origin: request.origin))
        response.headers["ETag"] = object.etag
        return response
    }

    func find(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError) -> StoredObject {
        let generation = try request.target.int64("generation")
        return try service.read { (state) throws(APIError) in
            try state.object(bucket, name, generation: generation)
        }
    }

    func listObjects(_ request: EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        let query = try listQuery(request)
        var position = ObjectListing.Position.beginning
        if let token = request.query("pageToken"), !token.isEmpty {
            guard let decoded = ObjectListing.Position(token: token) else { throw .invalid("Invalid page token") }
            position = decoded
        }
        var page: JSONValue = ["kind": "storage#objects"]
        if request.faults.emptyPage {
            _ = try service.read { (state) throws(APIError) in try state.bucket(bucket) }
            page["nextPageToken"] = .string(position.token)
            return try answer(request, page)
        }
        let listing = try service.read { (state) throws(APIError) in
            ObjectListing(try state.bucket(bucket), query, from: position)
        }
        if !listing.items.isEmpty {
            page["items"] = .array(listing.items.map { $0.resource(origin: request.origin) })
        }
        if !listing.prefixes.isEmpty { page["prefixes"] = .array(listing.prefixes.map { .string($0.text) }) }
        page["nextPageToken"] = listing.next.map { .string($0.token) }
        return try answer(request, page)
    }

    private func listQuery(_ request: EmulatorRequest) throws(APIError) -> ObjectListing.Query {
        var query = ObjectListing.Query()
        query.prefix = Array((request.query("prefix") ?? "").utf8)
        query.delimiter = Array((request.query("delimiter") ?? "").utf8)
        query.startOffset = request.query("startOffset").map { NameKey($0) }
        query.endOffset = request.query("endOffset").flatMap { $0.isEmpty ? nil : NameKey($0) }
        query.includesTrailingDelimiter = request.target.flag("includeTrailingDelimiter")
        query.includesFolders = request.target.flag("includeFoldersAsPrefixes")
        if query.includesFolders, query.delimiter != Array("/".utf8) {
            throw .invalid("includeFoldersAsPrefixes needs the delimiter '/'.")
        }
        if let text = request.query("matchGlob") {
            guard let glob = GlobPattern(text) else { throw .invalid("Invalid matchGlob: \(text)") }
            query.glob = glob
        }
        if let limit = try request.target.int64("maxResults") {
            guard limit >= 0 else { throw .invalid("Invalid value for maxResults: \(limit)") }
            query.limit = limit == 0 ? 1000 : Int(min(limit, 1000))
        }
        return query
    }

    func deleteObject(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let generation = try request.target.int64("generation")
        let conditions = try Preconditions(query: request.target)
        try service.transact { (state, change) throws(APIError) in
            let object = try state.object(bucket, name, generation: generation)
            try conditions.check(object)
            state.delete(object, &change)
        }
        return EmulatorResponse(204)
    }

    /// - Parameter replacesAll: an update: writable members that are not sent are removed.
    func patchObject(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String,
        replacesAll: Bool
    ) throws(APIError) -> EmulatorResponse {
        let body = try jsonBody(&request)
        let generation = try request.target.int64("generation")
        let conditions = try Preconditions(query: request.target)
        let now = service.now
        let object = try service.transact { (state, change) throws(APIError) in
            let object = try state.object(bucket, name, generation: generation)
            try conditions.check(object)
            let writable = (body.members ?? [:]).filter { StoredObject.writableMembers.contains($0.key) }
            var attributes = merged(.object(replacesAll ? [:] : object.attributes), .object(writable)).members ?? [:]
            // A storage class changes by rewriting only.
            attributes["storageClass"] = object.attributes["storageClass"]
            try checkMetadata(attributes)
            return state.change(object, attributes: attributes, now: now, &change)
        }
        return try answer(request, object.resource(origin: request.origin))
    }
}

/// Custom metadata has string values, and all of it at most 8 KiB (Objects resource).
func checkMetadata(_ attributes: [String: JSONValue]) throws(APIError) {
    guard let metadata = attributes["metadata"] else { return }
    guard let members = metadata.members else { throw .invalid("metadata must be an object") }
    var size = 0
    for (key, value) in members {
        guard let text = value.text else { throw .invalid("metadata.\(key) must be a string") }
        size += key.utf8.count + text.utf8.count
    }
    if size > 8 << 10 { throw .invalid("The total size of custom metadata must not exceed 8 KiB.") }
}
