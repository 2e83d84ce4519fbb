import Checksums
import LinuxPlatform

/// Resumable uploads. Source: "Resumable uploads" of Cloud Storage, and what official clients expect of its replies.
extension StorageAPI {
    func startResumable(_ request: inout EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        let resource = try jsonBody(&request)
        guard let name = request.query("name") ?? resource["name"]?.text else {
            throw APIError(400, "required", "Required object name is missing.")
        }
        try checkName(name)
        var attributes = StoredObject.attributes(from: resource)
        try checkMetadata(attributes)
        if attributes["contentType"] == nil, let type = request.headers["X-Upload-Content-Type"] {
            attributes["contentType"] = .string(type)
        }
        let conditions = try Preconditions(query: request.target)
        let declaredSize = request.headers["X-Upload-Content-Length"].flatMap { Int($0) }
        let expected = ExpectedDigests(resource: resource).or(ExpectedDigests(headers: request.headers))
        let blob = try service.makeBlob().number
        let id = randomIdentifier()
        let upload = ResumableUpload(
            id: id,
            bucket: bucket,
            name: name,
            attributes: attributes,
            conditions: conditions,
            declaredSize: declaredSize,
            expected: expected,
            blob: blob
        )
        do throws(APIError) {
            try service.transact { (state, change) throws(APIError) in
                try conditions.check(state.bucket(bucket).objects[NameKey(name)])
                state.retain(upload.extents)
                state.save(upload, &change)
            }
        } catch {
            service.blobs.remove(blob)
            throw error
        }
        let path = request.target.rawPath
        let location = "\(request.origin)\(path)?uploadType=resumable&name=\(percentEncoded(name))&upload_id=\(id)"
        return EmulatorResponse(.ok, headers: ["Location": location, "X-GUploader-UploadID": id])
    }

    func continueResumable(_ request: inout EmulatorRequest, _ id: String) throws(APIError) -> EmulatorResponse {
        var response = try continued(&request, id)
        response.headers["X-GUploader-UploadID"] = id
        if response.status == 308, request.headers["X-GUploader-No-308"].map({ isSame($0, "yes") }) == true {
            response.status = .ok
            response.headers["X-HTTP-Status-Code-Override"] = "308"
        }
        return response
    }

    func cancelResumable(_ request: EmulatorRequest, _ id: String) throws(APIError) -> EmulatorResponse {
        try service.transact { (state, change) throws(APIError) in
            guard let upload = state.resumables[id] else { throw noSession(404) }
            if case .gone(let status) = upload.phase { throw noSession(status) }
            state.end(upload, as: .gone(404), &change)
        }
        return EmulatorResponse(499)
    }

    private func continued(_ request: inout EmulatorRequest, _ id: String) throws(APIError) -> EmulatorResponse {
        if let status = request.faults.expiresSession { try expire(id, status) }
        let upload = try service.read { (state) throws(APIError) in try state.resumable(id) }
        if case .finished(let object) = upload.phase {
            return try answer(request, object.resource(origin: request.origin))
        }
        switch try UploadRange(request.headers["Content-Range"]) {
        case .query(let total):
            if let total, total == upload.committed, upload.declaredSize ?? total == total {
                return try finish(request, upload)
            }
            return incomplete(upload.committed)
        case .whole:
            return try receive(&request, upload, first: 0, end: nil, total: nil, endsUpload: true)
        case .part(let first, let last, let total):
            if let total, let declared = upload.declaredSize, total != declared {
                throw .invalid("Content-Range says \(total) bytes; the upload was started for \(declared).")
            }
            let isFinal = total == last + 1
            if let length = request.body.declaredLength, length != last + 1 - first {
                throw .invalid("The body has \(length) bytes; Content-Range says \(last + 1 - first).")
            }
            guard isFinal || (last + 1 - first) % RequestBody.pieceSize == 0 else {
                throw .invalid("Chunks other than the last must be multiples of 262144 bytes.")
            }
            return try receive(&request, upload, first: first, end: last + 1, total: total, endsUpload: isFinal)
        }
    }

    /// Persists a request's bytes behind those that are there, and finishes the upload if they are the last.
    private func receive(
        _ request: inout EmulatorRequest,
        _ upload: ResumableUpload,
        first: Int,
        end: Int?,
        total: Int?,
        endsUpload: Bool
    ) throws(APIError) -> EmulatorResponse {
        guard first <= upload.committed else {
            // Not JSON, as in production: the client lost data, and must not take this for a passing failure.
            return EmulatorResponse(
                503,
                text: "Invalid request. According to the Content-Range header, the upload offset is \(first) byte(s), "
                    + "which exceeds already uploaded size of \(upload.committed) byte(s)."
            )
        }
        let writer = try service.transact { (state, change) throws(APIError) in
            try state.beginWriting(upload.id)
        }
        let limit = request.faults.acknowledgeAtMost.map { $0 / RequestBody.pieceSize * RequestBody.pieceSize }
        let stop = limit.map { first + $0 }
        let isWhole = try persist(request.body, upload, writer, first: first, stop: stop)
        let current = try service.transact { (state, change) throws(APIError) in
            let current = try state.resumable(upload.id)
            state.save(current, &change)
            return current
        }
        guard isWhole else { throw .connectionLost }
        if case .finished(let object) = current.phase {
            return try answer(request, object.resource(origin: request.origin))
        }
        if let end, first + request.body.receivedCount != end {
            throw .invalid("The body has \(request.body.receivedCount) bytes; Content-Range says \(end - first).")
        }
        let isComplete = endsUpload && stop == nil && (end ?? current.committed) <= current.committed
        return isComplete ? try finish(request, current) : incomplete(current.committed)
    }

    /// Writes what is new of a body to the session's blob, piece by piece; false when the client went away.
    ///
    /// - Parameters:
    ///   - first: where in the object the body begins; what is persisted already is skipped without a look.
    ///   - stop: where in the object to stop persisting; the rest of the body is read and forgotten.
    private func persist(
        _ body: RequestBody,
        _ upload: ResumableUpload,
        _ writer: Int,
        first: Int,
        stop: Int?
    ) throws(APIError) -> Bool {
        let buffer = BufferLease(size: RequestBody.pieceSize)
        var offset = first
        var committed = upload.committed
        var checksum = upload.checksum
        do {
            let file = try service.blobs.open(upload.blob)
            while !body.isFinished {
                // What lies before the committed offset is skipped; after that, pieces stay aligned to 256 KiB.
                let wanted = offset < committed ? min(committed - offset, buffer.count) : buffer.count
                let count = try body.read(into: .init(rebasing: buffer.bytes[..<wanted]))
                defer { offset += count }
                guard offset >= committed, count > 0, stop.map({ offset + count <= $0 }) ?? true else { continue }
                let piece = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count])
                try file.write(piece, at: offset)
                committed += count
                checksum = checksum.updated(with: piece)
                try service.transact { (state, _) throws(APIError) in
                    try state.commit(upload.id, writer, committed, checksum)
                }
            }
            return true
        } catch let error as APIError {
            throw error
        } catch is RequestBody.Failure {
            return false
        } catch {
            throw .storage(error)
        }
    }

    private func finish(_ request: EmulatorRequest, _ upload: ResumableUpload) throws(APIError) -> EmulatorResponse {
        let expected = upload.expected.or(ExpectedDigests(headers: request.headers))
        do throws(APIError) {
            if let declared = upload.declaredSize, declared != upload.committed {
                throw .invalid("The upload has \(upload.committed) bytes; it was started for \(declared).")
            }
            let md5 = try self.md5(upload.extents, isWanted: expected.md5 != nil)
            try expected.check(crc32c: upload.checksum, md5: md5)
            let draft = StorageState.Draft(
                bucket: upload.bucket,
                name: upload.name,
                extents: upload.extents,
                checksum: upload.checksum,
                md5: md5,
                attributes: upload.attributes
            )
            let now = service.now
            let object = try service.transact { (state, change) throws(APIError) in
                let current = try state.resumable(upload.id)
                if case .finished(let object) = current.phase { return object }
                let object = try state.insert(draft, upload.conditions, now: now, &change)
                state.end(current, as: .finished(object), &change)
                return object
            }
            return try answer(request, object.resource(origin: request.origin))
        } catch {
            // Refused for good: the session does not live on.
            try service.transact { (state, change) throws(APIError) in
                if let current = state.resumables[upload.id] { state.end(current, as: .gone(404), &change) }
            }
            throw error
        }
    }

    private func incomplete(_ committed: Int) -> EmulatorResponse {
        var response = EmulatorResponse(308)
        if committed > 0 { response.headers["Range"] = "bytes=0-\(committed - 1)" }
        return response
    }

    private func expire(_ id: String, _ status: HTTPStatus) throws(APIError) {
        try service.transact { (state, change) throws(APIError) in
            if let upload = state.resumables[id] { state.end(upload, as: .gone(status), &change) }
        }
    }
}

extension StorageState {
    /// - Throws: 404 or 410 when there is no such session any more.
    fileprivate func resumable(_ id: String) throws(APIError) -> ResumableUpload {
        guard let upload = resumables[id] else { throw noSession(404) }
        if case .gone(let status) = upload.phase { throw noSession(status) }
        return upload
    }

    /// Makes the caller the only writer of a session; the number shows it later that it still is.
    fileprivate mutating func beginWriting(_ id: String) throws(APIError) -> Int {
        let upload = try resumable(id)
        resumables[id]?.writer = upload.writer + 1
        return upload.writer + 1
    }

    fileprivate mutating func commit(
        _ id: String,
        _ writer: Int,
        _ committed: Int,
        _ checksum: CRC32C
    ) throws(APIError) {
        let upload = try resumable(id)
        guard upload.writer == writer, upload.phase == .open else {
            throw APIError(503, "backendError", "Another request writes to this upload.", code: "SlowDown")
        }
        resumables[id]?.committed = committed
        resumables[id]?.checksum = checksum
    }
}

private func noSession(_ status: HTTPStatus) -> APIError {
    APIError(status, status == 410 ? "gone" : "notFound", "The upload session does not exist.", code: "NoSuchUpload")
}

/// What a `Content-Range` field of an upload says.
enum UploadRange: Equatable {
    /// `bytes */*` or `bytes */N`.
    case query(total: Int?)
    case part(first: Int, last: Int, total: Int?)
    /// No field: the body is the whole content.
    case whole

    init(_ text: String?) throws(APIError) {
        guard let text else {
            self = .whole
            return
        }
        let parts = text.hasPrefix("bytes ") ? text.dropFirst(6).utf8.split(separator: UInt8(ascii: "/")) : []
        guard parts.count == 2 else { throw .invalid("Invalid Content-Range: \(text)") }
        let totalText = String(Substring(parts[1]))
        let total = Int(totalText)
        guard totalText == "*" || total.map({ $0 >= 0 }) == true else {
            throw .invalid("Invalid Content-Range: \(text)")
        }
        if parts[0].elementsEqual("*".utf8) {
            self = .query(total: total)
            return
        }
        let ends = parts[0].split(separator: UInt8(ascii: "-")).map { Int(String(Substring($0))) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last,
            total.map({ last < $0 }) ?? true
        else { throw .invalid("Invalid Content-Range: \(text)") }
        self = .part(first: first, last: last, total: total)
    }
}

/// 128 random bits in hexadecimal: an upload's identifier is a secret.
func randomIdentifier() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<2).map { _ in
        let digits = String(generator.next(), radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }.joined()
}
