import Checksums
import LinuxPlatform

/// A blob with the whole of a request's content.
struct ReceivedBlob {
    let extent: StoredObject.Extent
    let checksum: CRC32C
    /// In base64; nil when nobody asked for it.
    let md5: String?
}

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
    ///
    /// - Parameter boundary: of a multipart body, whose closing line follows the content.
    func store(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String,
        _ attributes: [String: JSONValue],
        _ conditions: Preconditions,
        _ expected: ExpectedDigests,
        boundary: String? = nil
    ) throws(APIError) -> StoredObject {
        try checkName(name)
        try checkMetadata(attributes)
        _ = try service.read { (state) throws(APIError) in try state.bucket(bucket) }
        let received = try receiveBlob(request.body, boundary: boundary, wantsMD5: expected.md5 != nil)
        return try publish(received, bucket, name, attributes, conditions, expected)
    }

    /// The rest of a body, as a blob that nothing refers to yet.
    ///
    /// - Parameters:
    ///   - boundary: of a multipart body, whose closing line follows the content and is no part of it.
    ///   - wantsMD5: whether the client gave one to compare.
    func receiveBlob(
        _ body: RequestBody,
        boundary: String? = nil,
        wantsMD5: Bool
    ) throws(APIError) -> ReceivedBlob {
        let fresh = try service.makeBlob()
        do throws(APIError) {
            let received = try receive(body, into: fresh.file, computesMD5: boundary == nil && needsMD5(wantsMD5))
            guard let boundary else {
                let extent = StoredObject.Extent(blob: fresh.number, offset: 0, count: received.count)
                return ReceivedBlob(
                    extent: extent,
                    checksum: received.checksum,
                    md5: received.md5.map { Base64.encode($0.bytes) }
                )
            }
            let content = try multipartContent(of: received, in: fresh.file, boundary)
            let extent = StoredObject.Extent(blob: fresh.number, offset: 0, count: content.count)
            let md5 = try md5([extent], isWanted: wantsMD5)
            return ReceivedBlob(extent: extent, checksum: content.checksum, md5: md5)
        } catch {
            service.blobs.remove(fresh.number)
            throw error
        }
    }

    private func receive(
        _ body: RequestBody,
        into file: borrowing FileDescriptor,
        computesMD5: Bool
    ) throws(APIError) -> RequestBody.Received {
        do throws(RequestBody.Failure) {
            return try body.receive(into: file, computesMD5: computesMD5)
        } catch {
            if case .file(let failure) = error { throw .storage(failure) }
            throw .connectionLost
        }
    }

    private func multipartContent(
        of received: RequestBody.Received,
        in file: borrowing FileDescriptor,
        _ boundary: String
    ) throws(APIError) -> (count: Int, checksum: CRC32C) {
        do throws(Errno) {
            if let content = try MultipartTail.content(of: received, in: file, boundary: boundary) { return content }
        } catch {
            throw .storage(error)
        }
        throw .invalid("Malformed multipart body: no closing line.")
    }

    /// Makes a fresh blob an object, or removes it.
    private func publish(
        _ received: ReceivedBlob,
        _ bucket: String,
        _ name: String,
        _ attributes: [String: JSONValue],
        _ conditions: Preconditions,
        _ expected: ExpectedDigests
    ) throws(APIError) -> StoredObject {
        do throws(APIError) {
            try expected.check(crc32c: received.checksum, md5: received.md5)
            let draft = StorageState.Draft(
                bucket: bucket,
                name: name,
                extents: [received.extent],
                checksum: received.checksum,
                md5: received.md5,
                attributes: attributes
            )
            let now = service.now
            return try service.transact { (state, change) throws(APIError) in
                try state.insert(draft, conditions, now: now, &change)
            }
        } catch {
            service.blobs.remove(received.extent.blob)
            throw error
        }
    }

    private func needsMD5(_ isWanted: Bool) -> Bool { isWanted || service.computesMD5 }

    /// The MD5 of content, when the emulator was told to compute it or the client gave one to compare.
    func md5(_ extents: [StoredObject.Extent], isWanted: Bool) throws(APIError) -> String? {
        guard needsMD5(isWanted) else { return nil }
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
        let read: MultipartHead?
        do throws(RequestBody.Failure) {
            read = try MultipartHead.read(from: request.body, boundary: boundary)
        } catch {
            throw .connectionLost
        }
        guard let head = read else { throw .invalid("Malformed multipart body.") }
        let resource = head.resource
        guard let name = resource["name"]?.text ?? request.query("name") else {
            throw APIError(400, "required", "Required object name is missing.")
        }
        if let other = request.query("name"), NameKey(other) != NameKey(name) {
            throw .invalid("The name in the query and the name in the metadata differ.")
        }
        var attributes = StoredObject.attributes(from: resource)
        if attributes["contentType"] == nil { attributes["contentType"] = head.contentType.map(JSONValue.string) }
        let object = try store(
            &request,
            bucket,
            name,
            attributes,
            Preconditions(query: request.target),
            ExpectedDigests(resource: resource).or(ExpectedDigests(headers: request.headers)),
            boundary: boundary
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
