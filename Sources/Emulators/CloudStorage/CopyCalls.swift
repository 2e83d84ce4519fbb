import Checksums

/// Compose, rewrite, copy and move: none of them copies a byte, for objects share blobs.
extension StorageAPI {
    /// Source: Objects: compose.
    func compose(_ request: inout EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let body = try jsonBody(&request)
        let sources = body["sourceObjects"]?.elements ?? []
        guard (1...32).contains(sources.count) else {
            throw .invalid("The number of source components provided (\(sources.count)) must be from 1 to 32.")
        }
        let conditions = try Preconditions(query: request.target)
        let deletesSources = request.target.flag("deleteSourceObjects") || body["deleteSourceObjects"] == true
        let attributes = StoredObject.attributes(from: body["destination"] ?? .object([:]))
        try checkMetadata(attributes)
        let now = service.now
        let object = try service.transact { (state, change) throws(APIError) in
            var parts: [StoredObject] = []
            for source in sources { parts.append(try state.composeSource(bucket, source)) }
            let draft = composed(parts, bucket, name, attributes)
            let object = try state.insert(draft, conditions, now: now, &change)
            if deletesSources {
                for part in parts where (try? state.object(bucket, part.name))?.generation == part.generation {
                    state.delete(part, &change)
                }
            }
            return object
        }
        return try answer(request, object.resource(origin: request.origin))
    }

    /// Source: Objects: rewrite, and copy, which is one rewrite that always ends.
    func rewrite(
        _ request: inout EmulatorRequest,
        source: (bucket: String, name: String),
        destination: (bucket: String, name: String),
        isCopy: Bool
    ) throws(APIError) -> EmulatorResponse {
        let body = try jsonBody(&request)
        let replacement = StoredObject.attributes(from: body)
        try checkMetadata(replacement)
        let conditions = try Preconditions(query: request.target)
        let sourceConditions = try Preconditions(query: request.target, source: true)
        let generation = try request.target.int64("sourceGeneration")
        let object = try service.read { (state) throws(APIError) in
            try state.object(source.bucket, source.name, generation: generation)
        }
        try sourceConditions.check(object)
        let progress = isCopy ? object.size : try rewriteProgress(request, object)
        if progress < object.size {
            return try answer(
                request,
                rewriteReply(object, written: progress, token: "\(object.generation):\(progress)")
            )
        }
        let now = service.now
        let copy = try service.transact { (state, change) throws(APIError) in
            let current = try state.object(source.bucket, source.name, generation: object.generation)
            try sourceConditions.check(current)
            // An empty body keeps the metadata; any other replaces all of it.
            let attributes = body.members?.isEmpty == false ? replacement : current.attributes
            let draft = StorageState.Draft(
                bucket: destination.bucket,
                name: destination.name,
                extents: current.extents,
                checksum: current.checksum,
                md5: current.md5,
                componentCount: current.componentCount,
                attributes: attributes
            )
            return try state.insert(draft, conditions, now: now, &change)
        }
        if isCopy { return try answer(request, copy.resource(origin: request.origin)) }
        var reply = rewriteReply(object, written: object.size, token: nil)
        reply["resource"] = copy.resource(origin: request.origin)
        return try answer(request, reply)
    }

    private func rewriteReply(_ object: StoredObject, written: Int, token: String?) -> JSONValue {
        var reply: JSONValue = [
            "kind": "storage#rewriteResponse", "totalBytesRewritten": .int64(written),
            "objectSize": .int64(object.size), "done": .bool(token == nil),
        ]
        reply["rewriteToken"] = token.map { .string(Base64.encode($0.utf8)) }
        return reply
    }

    /// How far the rewrite is with this call.
    private func rewriteProgress(_ request: EmulatorRequest, _ object: StoredObject) throws(APIError) -> Int {
        guard let limit = try request.target.int64("maxBytesRewrittenPerCall") else { return object.size }
        guard limit > 0, limit % (1 << 20) == 0 else {
            throw .invalid("maxBytesRewrittenPerCall must be a multiple of 1 MiB.")
        }
        var done = 0
        if let token = request.query("rewriteToken") {
            let parts = Base64.decode(token)?.split(separator: UInt8(ascii: ":")) ?? []
            guard parts.count == 2, Int64(String(decoding: parts[0], as: UTF8.self)) == object.generation,
                let count = Int(String(decoding: parts[1], as: UTF8.self))
            else { throw .invalid("Invalid rewriteToken.") }
            done = count
        }
        return min(object.size, done + Int(limit))
    }

    /// Source: Objects: move. One atomic step.
    func moveObject(
        _ request: EmulatorRequest,
        _ bucket: String,
        _ name: String,
        to destination: String
    ) throws(APIError) -> EmulatorResponse {
        guard NameKey(name) != NameKey(destination) else { throw .invalid("Source and destination are the same.") }
        let conditions = try Preconditions(query: request.target)
        let sourceConditions = try Preconditions(query: request.target, source: true)
        let now = service.now
        let moved = try service.transact { (state, change) throws(APIError) in
            let object = try state.object(bucket, name)
            try sourceConditions.check(object)
            let draft = StorageState.Draft(
                bucket: bucket,
                name: destination,
                extents: object.extents,
                checksum: object.checksum,
                md5: object.md5,
                componentCount: object.componentCount,
                attributes: object.attributes
            )
            let moved = try state.insert(draft, conditions, now: now, &change)
            state.delete(object, &change)
            return moved
        }
        return try answer(request, moved.resource(origin: request.origin))
    }
}

extension StorageState {
    fileprivate func composeSource(_ bucket: String, _ source: JSONValue) throws(APIError) -> StoredObject {
        guard let name = source["name"]?.text else { throw APIError(400, "required", "Required source name") }
        let object = try object(bucket, name, generation: source["generation"]?.int64)
        var conditions = Preconditions()
        conditions.generationMatch = source["objectPreconditions"]?["ifGenerationMatch"]?.int64
        try conditions.check(object)
        return object
    }
}

private func composed(
    _ parts: [StoredObject],
    _ bucket: String,
    _ name: String,
    _ attributes: [String: JSONValue]
) -> StorageState.Draft {
    var checksum = CRC32C.empty
    for part in parts { checksum = checksum.combine(with: part.checksum, count: part.size) }
    return StorageState.Draft(
        bucket: bucket,
        name: name,
        extents: parts.flatMap(\.extents),
        checksum: checksum,
        md5: nil,
        componentCount: parts.reduce(0) { $0 + ($1.componentCount ?? 1) },
        attributes: attributes
    )
}
