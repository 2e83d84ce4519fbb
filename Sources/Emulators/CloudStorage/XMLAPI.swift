import Checksums

/// The XML API, path style: objects, and the requests that hand over to multipart uploads.
///
/// Source: "XML API reference" of Cloud Storage.
struct XMLAPI: Sendable {
    let api: StorageAPI
    var service: StorageService { api.service }

    func respond(to request: inout EmulatorRequest) -> EmulatorResponse {
        let bucket = request.target.segments.first ?? ""
        // The name is everything behind the bucket, slashes and all.
        let name = request.target.segments.dropFirst().joined(separator: "/")
        do throws(APIError) {
            if name.isEmpty { return try bucketRequest(request, bucket) }
            if isMultipart(request) { return try multipartRequest(&request, bucket, name) }
            switch request.method {
            case "GET", "HEAD": return try get(request, bucket, name)
            case "PUT": return try put(&request, bucket, name)
            case "DELETE": return try delete(request, bucket, name)
            default: throw .methodNotAllowed
            }
        } catch {
            return error.xmlResponse
        }
    }

    private func get(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let object = try api.find(request, bucket, name)
        try Preconditions(headers: request.headers).check(object, isRead: true)
        return try api.content(of: object, request, isXML: true)
    }

    private func put(_ request: inout EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let object = try api.store(
            &request,
            bucket,
            name,
            attributes(request),
            Preconditions(headers: request.headers),
            ExpectedDigests(headers: request.headers)
        )
        var headers = object.contentHeaders(isXML: true)
        headers["Content-Type"] = "text/html; charset=UTF-8"
        headers["Content-Encoding"] = nil
        return EmulatorResponse(.ok, headers: headers)
    }

    private func delete(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        let generation = try request.target.int64("generation")
        let conditions = try Preconditions(headers: request.headers)
        try service.transact { (state, change) throws(APIError) in
            let object = try state.object(bucket, name, generation: generation)
            try conditions.check(object)
            state.delete(object, &change)
        }
        return EmulatorResponse(204)
    }

    /// Existence of a bucket, its uploads, or its objects in the form of S3's second list version.
    private func bucketRequest(_ request: EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        guard request.method == "GET" || request.method == "HEAD" else { throw .methodNotAllowed }
        _ = try service.read { (state) throws(APIError) in try state.bucket(bucket) }
        if request.method == "HEAD" { return EmulatorResponse(.ok) }
        if request.query("uploads") != nil { return try listUploads(request, bucket) }
        return try listObjects(request, bucket)
    }

    private func listObjects(_ request: EmulatorRequest, _ name: String) throws(APIError) -> EmulatorResponse {
        var query = ObjectListing.Query()
        query.prefix = Array((request.query("prefix") ?? "").utf8)
        query.delimiter = Array((request.query("delimiter") ?? "").utf8)
        query.limit = Int(max(1, min(1000, try request.target.int64("max-keys") ?? 1000)))
        var position = ObjectListing.Position.beginning
        if let token = request.query("continuation-token") {
            guard let decoded = ObjectListing.Position(token: token) else { throw .invalid("Invalid token") }
            position = decoded
        } else if let marker = request.query("marker") ?? request.query("start-after") {
            position = .item(NameKey(marker))
        }
        let listing = try service.read { (state) throws(APIError) in
            ObjectListing(try state.bucket(name), query, from: position)
        }
        var text = "<Name>\(xmlEscaped(name))</Name><IsTruncated>\(listing.next != nil)</IsTruncated>"
        if let next = listing.next { text += "<NextContinuationToken>\(next.token)</NextContinuationToken>" }
        for object in listing.items {
            text += "<Contents><Key>\(xmlEscaped(object.name))</Key><Generation>\(object.generation)</Generation>"
            text += "<MetaGeneration>\(object.metageneration)</MetaGeneration>"
            text += "<LastModified>\(object.updated)</LastModified><ETag>\(xmlEscaped(object.xmlEtag))</ETag>"
            text += "<Size>\(object.size)</Size></Contents>"
        }
        for prefix in listing.prefixes {
            text += "<CommonPrefixes><Prefix>\(xmlEscaped(prefix.text))</Prefix></CommonPrefixes>"
        }
        return xml("ListBucketResult", text)
    }

    /// The metadata that the header fields of an upload carry.
    func attributes(_ request: EmulatorRequest) -> [String: JSONValue] {
        var attributes: [String: JSONValue] = [:]
        let members = [
            "Content-Type": "contentType", "Content-Encoding": "contentEncoding",
            "Content-Language": "contentLanguage", "Content-Disposition": "contentDisposition",
            "Cache-Control": "cacheControl", "x-goog-storage-class": "storageClass",
            "x-goog-custom-time": "customTime",
        ]
        for (field, member) in members { attributes[member] = request.headers[field].map(JSONValue.string) }
        var metadata: [String: JSONValue] = [:]
        for field in request.headers.fields {
            let name = lowercased(field.name)
            if name.hasPrefix("x-goog-meta-") { metadata[String(name.dropFirst(12))] = .string(field.value) }
        }
        if !metadata.isEmpty { attributes["metadata"] = .object(metadata) }
        return attributes
    }
}

/// A document of the XML API.
func xml(_ root: String, _ content: String) -> EmulatorResponse {
    EmulatorResponse(
        .ok,
        text: "<?xml version='1.0' encoding='UTF-8'?>"
            + "<\(root) xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\(content)</\(root)>",
        contentType: "application/xml; charset=UTF-8"
    )
}
