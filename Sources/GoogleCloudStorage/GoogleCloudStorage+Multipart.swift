package import Checksums
import HTTPEngine
package import LinuxPlatform
package import ObjectStorage

/// The CRC32C of parts that this process has put, so that the whole can be compared.
final class MultipartLedger: Sendable {
    static let capacity = 1024

    private let uploads = Lock([MultipartUpload: [Int: CRC32C]]())

    func record(_ upload: MultipartUpload, _ number: Int, _ crc: CRC32C) {
        uploads.withLock { uploads in
            if uploads[upload] == nil, uploads.count >= Self.capacity, let some = uploads.keys.first {
                uploads[some] = nil
            }
            uploads[upload, default: [:]][number] = crc
        }
    }

    /// Of the parts joined, when all of them are known.
    func combined(_ upload: MultipartUpload, _ parts: [MultipartPart]) -> CRC32C? {
        let known = uploads.withLock { $0[upload] ?? [:] }
        var whole = CRC32C.empty
        for part in parts {
            guard let crc = known[part.number] else { return nil }
            whole = whole.combine(with: crc, count: part.size)
        }
        return whole
    }

    func remove(_ upload: MultipartUpload) { uploads.withLock { $0[upload] = nil } }
}

/// Source: Cloud Storage XML API, "Multipart uploads".
extension GoogleCloudStorage {
    /// The precondition is not sent: whether the XML API honours it here is not documented. Upload to a name of your own
    /// and move it.
    package func beginMultipart(
        _ name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> MultipartUpload {
        // An upload whose reply is lost is found by listing uploads: starting twice is harmless.
        var request = xmlRequest("POST", name, [(name: "uploads", value: nil)])
        request.headers.set("Content-Type", options.contentType)
        for (key, value) in options.metadata.sorted(by: { $0.key < $1.key }) {
            request.headers.set("x-goog-meta-\(key)", value)
        }
        if !options.mayBeCached { request.headers.set("Cache-Control", "no-store") }
        if let storageClass = options.storageClass { request.headers.set("x-goog-storage-class", storageClass) }
        let root = try xml(try await runner.run(request), "InitiateMultipartUploadResult", subject(name))
        guard let uploadID = root["UploadId"], !uploadID.isEmpty else {
            throw ObjectStoreError(.protocolViolation, "\(subject(name)): a multipart upload without an id")
        }
        return MultipartUpload(name: name, uploadID: uploadID)
    }

    package func putPart(
        _ upload: MultipartUpload,
        number: Int,
        _ body: ByteSegments,
        crc32c: CRC32C
    ) async throws(ObjectStoreError) -> MultipartPart {
        guard (1...10_000).contains(number) else {
            throw ObjectStoreError(.invalidRequest, "\(subject(upload.name)): part \(number) is not 1 to 10,000")
        }
        var request = xmlRequest(
            "PUT",
            upload.name,
            [(name: "partNumber", value: String(number)), (name: "uploadId", value: upload.uploadID)]
        )
        request.subject += " (part \(number))"
        request.headers.set("x-goog-hash", "crc32c=\(crc32c.base64)")
        request.body = body
        let response = try await runner.run(request)
        if let stored = HashHeader.crc32c(response.headers), stored != crc32c {
            throw ObjectStoreError(
                .integrity,
                "\(request.subject): the store holds other bytes than were sent; put the part again",
                requestID: requestID(response)
            )
        }
        guard let etag = response.headers["etag"], !etag.isEmpty else {
            throw ObjectStoreError(.protocolViolation, "\(request.subject): the server's reply has no ETag")
        }
        multiparts.record(upload, number, crc32c)
        return MultipartPart(number: number, size: body.count, etag: etag)
    }

    package func parts(_ upload: MultipartUpload) async throws(ObjectStoreError) -> [MultipartPart] {
        var parts: [MultipartPart] = []
        var marker: String?
        repeat {
            var parameters: [(name: String, value: String?)] = [
                (name: "uploadId", value: upload.uploadID), (name: "max-parts", value: "1000"),
            ]
            if let marker { parameters.append((name: "part-number-marker", value: marker)) }
            let response = try await runner.run(xmlRequest("GET", upload.name, parameters))
            let root = try xml(response, "ListPartsResult", subject(upload.name))
            for part in root.all("Part") {
                guard let number = part["PartNumber"].flatMap(Int.init), let etag = part["ETag"],
                    let size = part["Size"].flatMap(Int.init), size >= 0
                else { throw incomplete(upload.name) }
                parts.append(MultipartPart(number: number, size: size, etag: etag))
            }
            let next = root["IsTruncated"] == "true" ? root["NextPartNumberMarker"] : nil
            guard next == nil || next != marker, parts.count <= 10_000 else { throw incomplete(upload.name) }
            marker = next
        } while marker != nil
        return parts.sorted { $0.number < $1.number }
    }

    package func multipartUploads(prefix: String) async throws(ObjectStoreError) -> [MultipartUpload] {
        let subject = "multipart uploads of \(label)/\(prefix)"
        var uploads: [MultipartUpload] = []
        var marker: (key: String, upload: String)?
        repeat {
            var parameters: [(name: String, value: String?)] = [(name: "uploads", value: nil)]
            if !prefix.isEmpty { parameters.append((name: "prefix", value: prefix)) }
            if let marker {
                parameters += [
                    (name: "key-marker", value: marker.key), (name: "upload-id-marker", value: marker.upload),
                ]
            }
            let target = "/\(PercentEncoding.path(bucket))" + PercentEncoding.query(parameters)
            let response = try await runner.run(StorageRequest("GET", target, subject: subject))
            let root = try xml(response, "ListMultipartUploadsResult", subject)
            for upload in root.all("Upload") {
                guard let key = upload["Key"], let id = upload["UploadId"], !id.isEmpty else {
                    throw ObjectStoreError(.protocolViolation, "\(subject): an upload without key or id")
                }
                uploads.append(MultipartUpload(name: try ObjectName(key), uploadID: id))
            }
            let last = marker
            marker =
                root["IsTruncated"] == "true" ? (root["NextKeyMarker"] ?? "", root["NextUploadIdMarker"] ?? "") : nil
            if let marker, let last, marker == last {
                throw ObjectStoreError(.protocolViolation, "\(subject): the server gives the same page again and again")
            }
        } while marker != nil
        return uploads.filter { $0.name.value.utf8.starts(with: prefix.utf8) }
    }

    package func completeMultipart(
        _ upload: MultipartUpload,
        _ parts: [MultipartPart]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let ordered = parts.sorted { $0.number < $1.number }
        let expectation = Expectation(
            size: ordered.reduce(0) { $0 + $1.size },
            crc32c: multiparts.combined(upload, ordered),
            metadata: [:]
        )
        var request = xmlRequest("POST", upload.name, [(name: "uploadId", value: upload.uploadID)])
        request.headers.set("Content-Type", "application/xml")
        let items = ordered.map {
            "<Part><PartNumber>\($0.number)</PartNumber><ETag>\(escaped($0.etag))</ETag></Part>"
        }
        let document = "<CompleteMultipartUpload>\(items.joined())</CompleteMultipartUpload>"
        request.body = ByteSegments(Array(document.utf8))
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response):
            // APIs of this family report errors in a 200: only the right root element is a success.
            _ = try xml(response, "CompleteMultipartUploadResult", subject(upload.name))
            multiparts.remove(upload)
            let generation = response.headers["x-goog-generation"].flatMap(Int64.init).map(Generation.init)
            let written = try await attributes(upload.name, generation: generation)
            return try await verified(written, upload.name, expectation)
        case .failure(let error):
            guard error.code == .notFound, outcome.followsAmbiguity else { throw error }
            return try await adoptedMultipart(upload, expectation, error)
        }
    }

    package func abortMultipart(_ upload: MultipartUpload) async throws(ObjectStoreError) {
        multiparts.remove(upload)
        do {
            _ = try await runner.run(
                xmlRequest("DELETE", upload.name, [(name: "uploadId", value: upload.uploadID)])
            )
        } catch let error where error.code == .notFound {
            // Gone already.
        }
    }

    /// The upload is gone after an attempt without an answer: that attempt completed it, if the object says so.
    private func adoptedMultipart(
        _ upload: MultipartUpload,
        _ expectation: Expectation,
        _ refusal: ObjectStoreError
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        guard let crc = expectation.crc32c, let found = try? await attributes(upload.name, generation: nil),
            found.size == expectation.size, found.crc32c == crc
        else { throw refusal }
        multiparts.remove(upload)
        return found
    }

    private func xmlRequest(
        _ method: String,
        _ name: ObjectName,
        _ parameters: [(name: String, value: String?)]
    ) -> StorageRequest {
        let path = "/\(PercentEncoding.path(bucket))/\(PercentEncoding.path(name.value))"
        var request = StorageRequest(method, path + PercentEncoding.query(parameters), subject: subject(name))
        request.replyLimit = 16 << 20
        return request
    }

    private func xml(
        _ response: HTTPResponse,
        _ root: String,
        _ subject: String
    ) throws(ObjectStoreError) -> XMLElement {
        guard let element = XMLElement.parse(response.body) else {
            throw ObjectStoreError(.protocolViolation, "\(subject): the server's reply is not XML")
        }
        if element.name == root { return element }
        // The status was a success, so only the words can tell what went wrong.
        let reply = ErrorReply(status: element["Code"] == "NoSuchUpload" ? 404 : 503, body: response.body)
        guard element.name == "Error" else {
            throw ObjectStoreError(.protocolViolation, "\(subject): the server's XML is no \(root)")
        }
        throw reply.error(subject, requestID: requestID(response))
    }

    private func incomplete(_ name: ObjectName) -> ObjectStoreError {
        ObjectStoreError(.protocolViolation, "\(subject(name)): the server's list of parts makes no sense")
    }

    private func escaped(_ text: String) -> String {
        text.unicodeScalars.map { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            default: String(scalar)
            }
        }.joined()
    }
}
