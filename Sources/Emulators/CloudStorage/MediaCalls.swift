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
        switch requestedRange(request.headers, of: response.headers, size: size) {
        case .whole: break
        case .unsatisfiable:
            var error = unsatisfiable(size, isXML: isXML)
            error.headers["Content-Range"] = "bytes */\(size)"
            return error
        case .part(let part):
            range = part
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
