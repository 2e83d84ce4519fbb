import Checksums
import LinuxPlatform

/// Buckets: create, get, list, patch, delete, layout. Source: Buckets resource of the JSON API.
extension StorageAPI {
    func listBuckets(_ request: EmulatorRequest) throws(APIError) -> EmulatorResponse {
        guard request.query("project") != nil else {
            throw APIError(400, "required", "Required parameter: project")
        }
        let prefix = NameKey(request.query("prefix") ?? "")
        let limit = try request.target.int64("maxResults").map { Int(clamping: max(1, $0)) } ?? 1000
        let start = request.query("pageToken").flatMap(Base64.decode).map { NameKey($0) } ?? prefix
        let buckets = try service.read { (state) throws(APIError) in
            state.buckets.all.filter {
                !(NameKey($0.name) < start) && NameKey($0.name).bytes.starts(with: prefix.bytes)
            }
        }
        var page: JSONValue = ["kind": "storage#buckets"]
        page["items"] = .array(buckets.prefix(limit).map { $0.resource(origin: request.origin) })
        if buckets.count > limit { page["nextPageToken"] = .string(Base64.encode(buckets[limit].name.utf8)) }
        return try answer(request, page)
    }

    func createBucket(_ request: inout EmulatorRequest) throws(APIError) -> EmulatorResponse {
        let resource = try jsonBody(&request)
        guard let name = resource["name"]?.text else { throw APIError(400, "required", "Required bucket name") }
        let now = service.now
        var attributes = (resource.members ?? [:]).filter { $0.value != .null }
        attributes["name"] = nil
        if let location = attributes["location"]?.text { attributes["location"] = .string(location.uppercased()) }
        let bucket = try service.transact { (state, change) throws(APIError) in
            try state.createBucket(name, attributes: attributes, now: now, &change)
        }
        return try answer(request, bucket.resource(origin: request.origin))
    }

    func getBucket(_ request: EmulatorRequest, _ name: String) throws(APIError) -> EmulatorResponse {
        let bucket = try service.read { (state) throws(APIError) in try state.bucket(name) }
        try checkMetageneration(request, bucket, isRead: true)
        return try answer(request, bucket.resource(origin: request.origin))
    }

    func patchBucket(_ request: inout EmulatorRequest, _ name: String) throws(APIError) -> EmulatorResponse {
        let patch = try jsonBody(&request)
        let now = service.now
        let checked = request
        let bucket = try service.transact { (state, change) throws(APIError) in
            try self.checkMetageneration(checked, state.bucket(name), isRead: false)
            try state.update(name, &change) { bucket in
                bucket.attributes = merged(.object(bucket.attributes), patch).members ?? [:]
                bucket.metageneration += 1
                bucket.updated = now
            }
            return try state.bucket(name)
        }
        return try answer(request, bucket.resource(origin: request.origin))
    }

    func deleteBucket(_ request: EmulatorRequest, _ name: String) throws(APIError) -> EmulatorResponse {
        try service.transact { (state, change) throws(APIError) in
            try self.checkMetageneration(request, state.bucket(name), isRead: false)
            try state.deleteBucket(name, &change)
        }
        return EmulatorResponse(204)
    }

    func storageLayout(_ request: EmulatorRequest, _ name: String) throws(APIError) -> EmulatorResponse {
        let bucket = try service.read { (state) throws(APIError) in try state.bucket(name) }
        var layout: JSONValue = [
            "kind": "storage#storageLayout", "bucket": .string(name), "location": .string(bucket.location),
            "locationType": .string(bucket.locationType),
        ]
        if bucket.isHierarchical { layout["hierarchicalNamespace"] = ["enabled": true] }
        return try answer(request, layout)
    }

    /// Whatever is asked for is granted: the emulator has no policies.
    func bucketPolicy(_ request: EmulatorRequest, _ name: String, _ path: [String]) throws(APIError)
        -> EmulatorResponse
    {
        _ = try service.read { (state) throws(APIError) in try state.bucket(name) }
        guard path == ["testPermissions"] else {
            return try answer(request, ["kind": "storage#policy", "version": 1, "etag": "CAE=", "bindings": []])
        }
        let permissions = request.target.query.filter { $0.name == "permissions" }.map { JSONValue.string($0.value) }
        return try answer(
            request,
            ["kind": "storage#testIamPermissionsResponse", "permissions": .array(permissions)]
        )
    }

    private func checkMetageneration(
        _ request: EmulatorRequest,
        _ bucket: StoredBucket,
        isRead: Bool
    ) throws(APIError) {
        let conditions = try Preconditions(query: request.target)
        if let wanted = conditions.metagenerationMatch, wanted != bucket.metageneration { throw .conditionNotMet }
        if conditions.metagenerationNotMatch == bucket.metageneration {
            throw isRead ? .notModified : .conditionNotMet
        }
    }
}

/// JSON merge patch: null removes, objects merge, all else replaces. Source: RFC 7396.
func merged(_ target: JSONValue, _ patch: JSONValue) -> JSONValue {
    guard case .object(let changes) = patch else { return patch }
    var members = target.members ?? [:]
    for (name, change) in changes {
        members[name] = change == .null ? nil : merged(members[name] ?? .null, change)
    }
    return .object(members)
}
