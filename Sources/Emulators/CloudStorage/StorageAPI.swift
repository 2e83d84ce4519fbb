/// The JSON API: which call a request is.
struct StorageAPI: Sendable {
    let service: StorageService
    /// The most bytes a JSON body may have.
    static let jsonLimit = 2 << 20

    /// Answers a request to `/storage/v1`, `/download/storage/v1` or an upload path; nil for any other.
    func respond(to request: inout EmulatorRequest) -> EmulatorResponse? {
        let segments = request.target.segments
        do throws(APIError) {
            if segments.starts(with: ["storage", "v1", "b"]) {
                return try bucketCall(&request, Array(segments[3...]))
            }
            if segments.starts(with: ["download", "storage", "v1", "b"]) {
                return try bucketCall(&request, Array(segments[4...]))
            }
            if segments.first == "b" { return try bucketCall(&request, Array(segments[1...])) }
            if segments.starts(with: ["storage", "v1", "projects"]) || segments.starts(with: ["storage", "v1"]) {
                throw .noRoute
            }
            let upload = segments.first == "resumable" ? Array(segments.dropFirst()) : segments
            if upload.starts(with: ["upload", "storage", "v1", "b"]) {
                return try uploadCall(&request, Array(upload[4...]))
            }
            return nil
        } catch {
            return isMedia(request) ? error.textResponse : error.jsonResponse
        }
    }

    /// The method, or the one that a client behind a strict proxy means.
    static func method(_ request: EmulatorRequest) -> String {
        request.method == "POST" ? request.headers["X-HTTP-Method-Override"] ?? "POST" : request.method
    }

    private func isMedia(_ request: EmulatorRequest) -> Bool { request.query("alt") == "media" }

    /// A path behind `/b`.
    private func bucketCall(_ request: inout EmulatorRequest, _ path: [String]) throws(APIError) -> EmulatorResponse {
        let method = Self.method(request)
        switch (path.count, method) {
        case (0, "GET"): return try listBuckets(request)
        case (0, "POST"): return try createBucket(&request)
        case (1, "GET"): return try getBucket(request, path[0])
        case (1, "PATCH"), (1, "PUT"): return try patchBucket(&request, path[0])
        case (1, "DELETE"): return try deleteBucket(request, path[0])
        case (0...1, _): throw .methodNotAllowed
        default: break
        }
        let rest = Array(path[2...])
        switch path[1] {
        case "o": return try objectCall(&request, path[0], rest, method)
        case "folders": return try folderCall(&request, path[0], rest, method)
        case "operations": return try operationCall(request, path[0], rest, method)
        case "storageLayout" where method == "GET" && rest.isEmpty: return try storageLayout(request, path[0])
        case "iam" where method == "GET": return try bucketPolicy(request, path[0], rest)
        default: throw .noRoute
        }
    }

    /// A path behind `/b/B/o`.
    private func objectCall(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ path: [String],
        _ method: String
    ) throws(APIError) -> EmulatorResponse {
        switch (path.count, method) {
        case (0, "GET"): return try listObjects(request, bucket)
        case (1, "GET"), (1, "HEAD"): return try getObject(request, bucket, path[0])
        case (1, "DELETE"): return try deleteObject(request, bucket, path[0])
        case (1, "PATCH"): return try patchObject(&request, bucket, path[0], replacesAll: false)
        case (1, "PUT"): return try patchObject(&request, bucket, path[0], replacesAll: true)
        case (2, "POST") where path[1] == "compose": return try compose(&request, bucket, path[0])
        case (4, "POST") where path[1] == "moveTo" && path[2] == "o":
            return try moveObject(request, bucket, path[0], to: path[3])
        case (6, "POST") where path[1] == "rewriteTo" && path[2] == "b" && path[4] == "o":
            return try rewrite(&request, source: (bucket, path[0]), destination: (path[3], path[5]), isCopy: false)
        case (6, "POST") where path[1] == "copyTo" && path[2] == "b" && path[4] == "o":
            return try rewrite(&request, source: (bucket, path[0]), destination: (path[3], path[5]), isCopy: true)
        default: throw path.count < 2 ? .methodNotAllowed : .noRoute
        }
    }

    /// A path behind `/upload/storage/v1/b`.
    private func uploadCall(_ request: inout EmulatorRequest, _ path: [String]) throws(APIError) -> EmulatorResponse {
        guard path.count == 2, path[1] == "o" else { throw .noRoute }
        let method = Self.method(request)
        if let id = request.query("upload_id") {
            switch method {
            case "PUT", "POST": return try continueResumable(&request, id)
            case "DELETE": return try cancelResumable(request, id)
            default: throw .methodNotAllowed
            }
        }
        guard method == "POST" || method == "PUT" else { throw .methodNotAllowed }
        switch request.query("uploadType") {
        case "media": return try uploadMedia(&request, path[0])
        case "multipart": return try uploadMultipart(&request, path[0])
        case "resumable": return try startResumable(&request, path[0])
        default: throw .invalid("Invalid upload request: uploadType must be media, multipart or resumable")
        }
    }

    /// The JSON body of a request; an empty object when there is none.
    func jsonBody(_ request: inout EmulatorRequest) throws(APIError) -> JSONValue {
        let bytes = try bodyBytes(&request, limit: Self.jsonLimit)
        if bytes.isEmpty { return .object([:]) }
        switch JSONValue(parsing: bytes) {
        case .object(let members): return .object(members)
        // What Go's client sends when there is nothing to say.
        case .null: return .object([:])
        default: throw APIError(400, "parseError", "Parse Error")
        }
    }

    func bodyBytes(_ request: inout EmulatorRequest, limit: Int) throws(APIError) -> [UInt8] {
        do throws(RequestBody.Failure) {
            return try request.body.readAll(limit: limit)
        } catch .tooLarge {
            throw APIError(413, "uploadTooLarge", "Request is too large.", code: "EntityTooLarge")
        } catch {
            throw .connectionLost
        }
    }

    /// A resource, with what `fields` names.
    func answer(_ request: EmulatorRequest, _ value: JSONValue, status: HTTPStatus = .ok) throws(APIError)
        -> EmulatorResponse
    {
        guard let fields = request.query("fields"), !fields.isEmpty else { return json(status, value) }
        return json(status, try FieldMask(fields).applied(to: value))
    }
}
