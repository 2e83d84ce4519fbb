import Checksums
import LinuxPlatform

/// Uploads in one request. Source: "Uploads" of the JSON API.
extension StorageAPI {
    /// The body is the content; metadata is what the query and `Content-Type` say.
    func uploadMedia(_ request: inout EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        guard let name = request.query("name") else {
            throw APIError(400, "required", "Required object name is missing.")
        }
        var attributes: [String: JSONValue] = [:]
        if let type = request.headers["Content-Type"] { attributes["contentType"] = .string(type) }
        if let encoding = request.query("contentEncoding") { attributes["contentEncoding"] = .string(encoding) }
        let object = try store(
            &request,
            bucket,
            name,
            attributes,
            Preconditions(query: request.target),
            ExpectedDigests(headers: request.headers)
        )
        return try answer(request, object.resource(origin: request.origin))
    }

    /// Takes the rest of the body as an object's content.
    func store(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String,
        _ attributes: [String: JSONValue],
        _ conditions: Preconditions,
        _ expected: ExpectedDigests
    ) throws(APIError) -> StoredObject {
        try checkName(name)
        try checkMetadata(attributes)
        _ = try service.read { (state) throws(APIError) in try state.bucket(bucket) }
        let received = try receiveBlob(request.body)
        return try publish(
            received.extent,
            received.checksum,
            bucket,
            name,
            attributes,
            conditions,
            expected
        )
    }

    /// The rest of a body, as a blob that nothing refers to yet.
    func receiveBlob(_ body: RequestBody) throws(APIError) -> (extent: StoredObject.Extent, checksum: CRC32C) {
        let fresh = try service.makeBlob()
        let blob = fresh.number
        do throws(RequestBody.Failure) {
            let received = try body.receive(into: fresh.file, at: 0)
            return (.init(blob: blob, offset: 0, count: received.count), received.checksum)
        } catch {
            service.blobs.remove(blob)
            if case .file(let failure) = error { throw .storage(failure) }
            throw .connectionLost
        }
    }

    /// Makes a fresh blob an object, or removes it.
    func publish(
        _ extent: StoredObject.Extent,
        _ checksum: CRC32C,
        _ bucket: String,
        _ name: String,
        _ attributes: [String: JSONValue],
        _ conditions: Preconditions,
        _ expected: ExpectedDigests
    ) throws(APIError) -> StoredObject {
        do throws(APIError) {
            let md5 = try self.md5([extent], isWanted: expected.md5 != nil)
            try expected.check(crc32c: checksum, md5: md5)
            let draft = StorageState.Draft(
                bucket: bucket,
                name: name,
                extents: [extent],
                checksum: checksum,
                md5: md5,
                attributes: attributes
            )
            let now = service.now
            return try service.transact { (state, change) throws(APIError) in
                try state.insert(draft, conditions, now: now, &change)
            }
        } catch {
            service.blobs.remove(extent.blob)
            throw error
        }
    }

    /// The MD5 of content, when the emulator was told to compute it or the client gave one to compare.
    func md5(_ extents: [StoredObject.Extent], isWanted: Bool) throws(APIError) -> String? {
        guard isWanted || service.computesMD5 else { return nil }
        do throws(Errno) {
            return try service.blobs.md5(of: extents)
        } catch {
            throw .storage(error)
        }
    }

    /// Metadata and content in one `multipart/related` body.
    func uploadMultipart(_ request: inout EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        guard let boundary = request.headers["Content-Type"].flatMap(boundary(of:)) else {
            throw .invalid("Malformed multipart body: no boundary.")
        }
        let fresh = try service.makeBlob()
        let blob = fresh.number
        let body: MultipartBody
        do throws(RequestBody.Failure) {
            let received = try request.body.receive(into: fresh.file, at: 0)
            guard let parsed = MultipartBody(fresh.file, length: received.count, boundary: boundary) else {
                throw .tooLarge
            }
            body = parsed
        } catch {
            service.blobs.remove(blob)
            throw error == .tooLarge ? .invalid("Malformed multipart body.") : .connectionLost
        }
        let extent = StoredObject.Extent(blob: blob, offset: body.content.lowerBound, count: body.content.count)
        do throws(APIError) {
            return try publishMultipart(request, bucket, body, extent)
        } catch {
            service.blobs.remove(blob)
            throw error
        }
    }

    private func publishMultipart(
        _ request: EmulatorRequest,
        _ bucket: String,
        _ body: MultipartBody,
        _ extent: StoredObject.Extent
    ) throws(APIError) -> EmulatorResponse {
        let resource = body.resource
        guard let name = resource["name"]?.text ?? request.query("name") else {
            throw APIError(400, "required", "Required object name is missing.")
        }
        if let other = request.query("name"), NameKey(other) != NameKey(name) {
            throw .invalid("The name in the query and the name in the metadata differ.")
        }
        try checkName(name)
        var attributes = StoredObject.attributes(from: resource)
        try checkMetadata(attributes)
        if attributes["contentType"] == nil { attributes["contentType"] = body.contentType.map(JSONValue.string) }
        let checksum: CRC32C
        do throws(Errno) {
            checksum = try service.blobs.checksum(of: [extent])
        } catch {
            throw .storage(error)
        }
        let object = try publish(
            extent,
            checksum,
            bucket,
            name,
            attributes,
            Preconditions(query: request.target),
            ExpectedDigests(resource: resource).or(ExpectedDigests(headers: request.headers))
        )
        return try answer(request, object.resource(origin: request.origin))
    }
}

/// The boundary parameter of a multipart media type; nil when there is none.
func boundary(of contentType: String) -> String? {
    for parameter in contentType.utf8.split(separator: UInt8(ascii: ";")).dropFirst() {
        let text = trimmed(String(Substring(parameter)))
        guard lowercased(text).hasPrefix("boundary=") else { continue }
        var value = Array(text.utf8.dropFirst(9))
        // Quotes of either kind: apitools sends the single ones.
        if value.count >= 2, let quote = value.first, quote == value.last, quote == 0x22 || quote == 0x27 {
            value = Array(value[1..<(value.count - 1)])
        }
        return (1...200).contains(value.count) ? String(decoding: value, as: UTF8.self) : nil
    }
    return nil
}
