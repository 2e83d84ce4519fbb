import Checksums
import LinuxPlatform

/// Multipart uploads of the XML API. Source: "XML API multipart uploads" of Cloud Storage.
extension XMLAPI {
    /// The least size of a part that is not the last, in bytes.
    private static let partMinimum = 5 << 20
    private static let partNumbers = 1...10_000

    func isMultipart(_ request: EmulatorRequest) -> Bool {
        request.query("uploads") != nil || request.query("uploadId") != nil
    }

    func multipartRequest(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String
    ) throws(APIError) -> EmulatorResponse {
        guard let id = request.query("uploadId") else {
            guard request.method == "POST" else { throw .methodNotAllowed }
            return try initiate(request, bucket, name)
        }
        switch request.method {
        case "PUT": return try putPart(&request, bucket, name, id)
        case "POST": return try complete(&request, bucket, name, id)
        case "DELETE":
            try service.transact { (state, change) throws(APIError) in
                state.drop(try state.multipart(id, bucket, name), &change)
            }
            return EmulatorResponse(204)
        case "GET": return try listParts(request, bucket, name, id)
        default: throw .methodNotAllowed
        }
    }

    private func initiate(_ request: EmulatorRequest, _ bucket: String, _ name: String) throws(APIError)
        -> EmulatorResponse
    {
        try checkName(name)
        let attributes = attributes(request)
        try checkMetadata(attributes)
        let upload = MultipartUpload(
            id: randomIdentifier(),
            bucket: bucket,
            name: name,
            attributes: attributes,
            initiated: service.now
        )
        try service.transact { (state, change) throws(APIError) in
            _ = try state.bucket(bucket)
            state.save(upload, &change)
        }
        return xml(
            "InitiateMultipartUploadResult",
            "<Bucket>\(bucket)</Bucket><Key>\(xmlEscaped(name))</Key><UploadId>\(upload.id)</UploadId>"
        )
    }

    private func putPart(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String,
        _ id: String
    ) throws(APIError) -> EmulatorResponse {
        guard let number = try request.target.int64("partNumber").map({ Int($0) }),
            Self.partNumbers.contains(number)
        else { throw .invalid("Part number must be an integer between 1 and 10000, inclusive.") }
        _ = try service.read { (state) throws(APIError) in try state.multipart(id, bucket, name) }
        let expected = ExpectedDigests(headers: request.headers)
        let received = try api.receiveBlob(request.body, wantsMD5: expected.md5 != nil)
        let (extent, checksum, md5) = (received.extent, received.checksum, received.md5)
        let now = service.now
        do throws(APIError) {
            try expected.check(crc32c: checksum, md5: md5)
            let part = MultipartUpload.Part(
                extent: extent,
                checksum: checksum,
                md5: md5,
                modified: now,
                etag: "\"\(checksum)-\(extent.blob)\""
            )
            try service.transact { (state, change) throws(APIError) in
                try state.setPart(part, number, id, bucket, name, &change)
            }
            var response = EmulatorResponse(.ok, headers: ["ETag": part.etag])
            response.headers["x-goog-hash"] = "crc32c=\(checksum.base64)"
            if let md5 { response.headers.add("x-goog-hash", "md5=\(md5)") }
            return response
        } catch {
            service.blobs.remove(extent.blob)
            throw error
        }
    }

    private func complete(
        _ request: inout EmulatorRequest,
        _ bucket: String,
        _ name: String,
        _ id: String
    ) throws(APIError) -> EmulatorResponse {
        let body = try api.bodyBytes(&request, limit: StorageAPI.jsonLimit)
        guard let named = CompletedPart.list(String(decoding: body, as: UTF8.self)) else {
            throw .invalid("The XML you provided was not well-formed.", code: "MalformedCompleteMultipartUploadRequest")
        }
        let conditions = try Preconditions(headers: request.headers)
        let now = service.now
        let object = try service.transact { (state, change) throws(APIError) in
            let upload = try state.multipart(id, bucket, name)
            let parts = try upload.chosen(named, minimum: Self.partMinimum)
            let draft = StorageState.Draft(
                bucket: bucket,
                name: name,
                extents: parts.map(\.extent).filter { $0.count > 0 },
                checksum: parts.reduce(CRC32C.empty) { $0.combine(with: $1.checksum, count: $1.extent.count) },
                md5: nil,
                attributes: upload.attributes
            )
            let object = try state.insert(draft, conditions, now: now, &change)
            state.drop(upload, &change)
            return object
        }
        var response = xml(
            "CompleteMultipartUploadResult",
            "<Location>\(request.origin)/\(bucket)/\(percentEncoded(name, keeping: "/"))</Location>"
                + "<Bucket>\(bucket)</Bucket><Key>\(xmlEscaped(name))</Key><ETag>\(xmlEscaped(object.xmlEtag))</ETag>"
        )
        response.headers["x-goog-generation"] = String(object.generation)
        response.headers["x-goog-metageneration"] = String(object.metageneration)
        response.headers["x-goog-hash"] = "crc32c=\(object.checksum.base64)"
        return response
    }

    private func listParts(
        _ request: EmulatorRequest,
        _ bucket: String,
        _ name: String,
        _ id: String
    ) throws(APIError) -> EmulatorResponse {
        let upload = try service.read { (state) throws(APIError) in try state.multipart(id, bucket, name) }
        let limit = Int(max(1, min(1000, try request.target.int64("max-parts") ?? 1000)))
        let marker = Int(try request.target.int64("part-number-marker") ?? 0)
        let following = upload.parts.sorted { $0.key < $1.key }.filter { $0.key > marker }
        var text = "<Bucket>\(bucket)</Bucket><Key>\(xmlEscaped(name))</Key><UploadId>\(id)</UploadId>"
        text += "<PartNumberMarker>\(marker)</PartNumberMarker><MaxParts>\(limit)</MaxParts>"
        text += "<IsTruncated>\(following.count > limit)</IsTruncated>"
        if following.count > limit {
            text += "<NextPartNumberMarker>\(following[limit - 1].key)</NextPartNumberMarker>"
        }
        for (number, part) in following.prefix(limit) {
            text += "<Part><PartNumber>\(number)</PartNumber><LastModified>\(part.modified)</LastModified>"
            text += "<ETag>\(xmlEscaped(part.etag))</ETag><Size>\(part.extent.count)</Size></Part>"
        }
        return xml("ListPartsResult", text)
    }

    func listUploads(_ request: EmulatorRequest, _ bucket: String) throws(APIError) -> EmulatorResponse {
        let prefix = Array((request.query("prefix") ?? "").utf8)
        let keyMarker = NameKey(request.query("key-marker") ?? "")
        let idMarker = request.query("upload-id-marker")
        let limit = Int(max(1, min(1000, try request.target.int64("max-uploads") ?? 1000)))
        let all = try service.read { (state) throws(APIError) in
            state.multiparts.values.filter { $0.bucket == bucket && $0.name.utf8.starts(with: prefix) }
        }
        let following = all.sorted { (NameKey($0.name), $0.id) < (NameKey($1.name), $1.id) }.filter { upload in
            let key = NameKey(upload.name)
            if keyMarker.bytes.isEmpty || keyMarker < key { return true }
            return key == keyMarker && idMarker.map { $0 < upload.id } == true
        }
        var text = "<Bucket>\(bucket)</Bucket><MaxUploads>\(limit)</MaxUploads>"
        text += "<IsTruncated>\(following.count > limit)</IsTruncated>"
        if following.count > limit {
            let last = following[limit - 1]
            text += "<NextKeyMarker>\(xmlEscaped(last.name))</NextKeyMarker>"
            text += "<NextUploadIdMarker>\(last.id)</NextUploadIdMarker>"
        }
        for upload in following.prefix(limit) {
            text += "<Upload><Key>\(xmlEscaped(upload.name))</Key><UploadId>\(upload.id)</UploadId>"
            text += "<Initiated>\(upload.initiated)</Initiated></Upload>"
        }
        return xml("ListMultipartUploadsResult", text)
    }
}

extension StorageState {
    fileprivate func multipart(_ id: String, _ bucket: String, _ name: String) throws(APIError) -> MultipartUpload {
        _ = try self.bucket(bucket)
        guard let upload = multiparts[id], upload.bucket == bucket, NameKey(upload.name) == NameKey(name) else {
            throw APIError(404, "notFound", "The specified upload does not exist.", code: "NoSuchUpload")
        }
        return upload
    }

    fileprivate mutating func setPart(
        _ part: MultipartUpload.Part,
        _ number: Int,
        _ id: String,
        _ bucket: String,
        _ name: String,
        _ change: inout Change
    ) throws(APIError) {
        var upload = try multipart(id, bucket, name)
        retain([part.extent])
        if let old = upload.parts[number] { release([old.extent], &change) }
        upload.parts[number] = part
        save(upload, &change)
    }
}

extension MultipartUpload {
    /// The parts that a completion names.
    ///
    /// - Throws: 400 for wrong order, unknown parts, other ETags, and parts that are too small.
    fileprivate func chosen(_ named: [CompletedPart], minimum: Int) throws(APIError) -> [Part] {
        guard !named.isEmpty, zip(named, named.dropFirst()).allSatisfy({ $0.number < $1.number }) else {
            throw .invalid("The list of parts was not in ascending order.", code: "InvalidPartOrder")
        }
        var chosen: [Part] = []
        for name in named {
            let etag: (String) -> [UInt8] = { $0.utf8.filter { $0 != UInt8(ascii: "\"") } }
            guard let part = parts[name.number], etag(part.etag) == etag(name.etag) else {
                throw .invalid("One or more of the specified parts could not be found.", code: "InvalidPart")
            }
            chosen.append(part)
        }
        guard chosen.dropLast().allSatisfy({ $0.extent.count >= minimum }) else {
            throw .invalid("Your proposed upload is smaller than the minimum object size.", code: "EntityTooSmall")
        }
        return chosen
    }
}

/// A part as a completion names it.
private struct CompletedPart {
    let number: Int
    let etag: String

    /// Reads the few elements that there are; nil when one is missing or the text is none of this kind.
    static func list(_ xml: String) -> [CompletedPart]? {
        let text = Array(xml.utf8)
        guard contains(text, "<CompleteMultipartUpload") else { return nil }
        var parts: [CompletedPart] = []
        var rest = text[...]
        while let part = element("Part", &rest) {
            var numberRest = part
            var etagRest = part
            guard let number = element("PartNumber", &numberRest), let etag = element("ETag", &etagRest),
                let value = Int(trimmed(String(decoding: number, as: UTF8.self)))
            else { return nil }
            parts.append(CompletedPart(number: value, etag: unescaped(etag)))
        }
        return parts
    }

    private static func contains(_ text: [UInt8], _ part: String) -> Bool { position(of: part, in: text[...]) != nil }

    private static func position(of part: String, in text: ArraySlice<UInt8>) -> Int? {
        let part = Array(part.utf8)
        return text.indices.first { text[$0...].starts(with: part) }
    }

    /// The content of the next such element; the rest is what follows it.
    private static func element(_ name: String, _ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let (opening, closing) = ("<\(name)>", "</\(name)>")
        guard let start = position(of: opening, in: rest) else { return nil }
        let content = rest[(start + opening.utf8.count)...]
        guard let end = position(of: closing, in: content) else { return nil }
        rest = rest[(end + closing.utf8.count)...]
        return content[..<end]
    }

    private static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        var result = trimmed(String(decoding: text, as: UTF8.self))
        for quote in ["&quot;", "&#34;"] where result.hasPrefix(quote) && result.hasSuffix(quote) {
            result = String(result.dropFirst(quote.utf8.count).dropLast(quote.utf8.count))
        }
        return result
    }
}
