/// The content of objects. Sources: "Range requests", "Transcoding of gzip-compressed files" of Cloud Storage.
extension StorageAPI {
    /// The whole or a part, as the `Range` field asks.
    func content(of object: StoredObject, _ request: EmulatorRequest, isXML: Bool) throws(APIError)
        -> EmulatorResponse
    {
        var response = EmulatorResponse(.ok, headers: object.contentHeaders(isXML: isXML))
        response.headers["X-GUploader-UploadID"] = "emulator-\(object.generation)"
        response.mediaKey = "\(object.bucket)/\(object.name)"
        if let plain = try transcoded(object, request) {
            response.headers["Content-Encoding"] = nil
            response.headers["x-guploader-response-body-transformations"] = "gunzipped"
            response.headers["Warning"] = "214 UploadServer gunzipped"
            response.body = .bytes(plain)
            response.isChunked = true
            return response
        }
        response.headers["Accept-Ranges"] = "bytes"
        let size = object.size
        var range = 0..<size
        if let wanted = request.headers["Range"].flatMap(RequestedRange.init) {
            guard let resolved = wanted.resolved(size: size) else {
                var error = unsatisfiable(size, isXML: isXML)
                error.headers["Content-Range"] = "bytes */\(size)"
                return error
            }
            range = resolved
            response.status = 206
            response.headers["Content-Range"] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)"
        }
        response.body = .files(try service.openContent(object, range))
        return response
    }

    private func unsatisfiable(_ size: Int, isXML: Bool) -> EmulatorResponse {
        let error = APIError(
            416,
            "requestedRangeNotSatisfiable",
            "The requested range cannot be satisfied.",
            code: "InvalidRange"
        )
        return isXML ? error.xmlResponse : error.textResponse
    }

    /// The decompressed content of a gzip object for a client that does not take gzip; nil for any other.
    private func transcoded(_ object: StoredObject, _ request: EmulatorRequest) throws(APIError) -> [UInt8]? {
        guard object.contentEncoding == "gzip", !request.headers.list("Accept-Encoding", contains: "gzip"),
            !lowercased(object.attributes["cacheControl"]?.text ?? "").hasPrefix("no-transform")
        else { return nil }
        let stored: [UInt8]
        do {
            stored = try service.blobs.bytes(of: object.extents)
        } catch {
            throw .storage(error)
        }
        // What is no gzip is served as it is.
        return gunzipped(stored)
    }
}

/// One range of bytes, as a `Range` field has it.
enum RequestedRange: Equatable {
    case from(Int)
    case closed(Int, Int)
    case last(Int)

    /// Nil for what a server may ignore: other units, several ranges, an end before the start (RFC 9110, 14.2).
    init?(_ text: String) {
        guard text.hasPrefix("bytes=") else { return nil }
        let parts = text.dropFirst(6).utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let numbers = parts.map { part -> Int? in
            part.isEmpty || !part.allSatisfy({ (0x30...0x39).contains($0) }) ? nil : Int(String(Substring(part)))
        }
        switch (numbers[0], numbers[1]) {
        case (let first?, let last?): self = .closed(first, last)
        case (let first?, nil) where parts[1].isEmpty: self = .from(first)
        case (nil, let count?) where parts[0].isEmpty: self = .last(count)
        default: return nil
        }
        if case .closed(let first, let last) = self, last < first { return nil }
    }

    /// The bytes of an object that it means; nil when there are none.
    func resolved(size: Int) -> Range<Int>? {
        switch self {
        case .from(let first): first < size ? first..<size : nil
        case .closed(let first, let last): first < size ? first..<(min(last, size - 1) + 1) : nil
        case .last(let count): count > 0 && size > 0 ? max(0, size - count)..<size : nil
        }
    }
}
