import Checksums
import LinuxPlatform

extension StoredObject {
    /// The resource of the JSON API.
    func resource(origin: String) -> JSONValue {
        let path = "b/\(bucket)/o/\(percentEncoded(name))"
        var members = attributes
        let own: [String: JSONValue] = [
            "kind": "storage#object", "id": .string("\(bucket)/\(name)/\(generation)"), "name": .string(name),
            "bucket": .string(bucket), "selfLink": .string("\(origin)/storage/v1/\(path)"),
            "mediaLink": .string("\(origin)/download/storage/v1/\(path)?generation=\(generation)&alt=media"),
            "generation": .int64(generation), "metageneration": .int64(metageneration), "size": .int64(size),
            "crc32c": .string(checksum.base64), "etag": .string(etag), "timeCreated": .string(timeCreated.description),
            "updated": .string(updated.description), "timeFinalized": .string(timeCreated.description),
            "timeStorageClassUpdated": .string(timeCreated.description),
        ]
        members.merge(own) { _, own in own }
        members["md5Hash"] = md5.map(JSONValue.string)
        members["componentCount"] = componentCount.map { .integer(Int64($0)) }
        return .object(members)
    }

    /// The header fields that accompany the content, in both APIs.
    func contentHeaders(isXML: Bool) -> HeaderFields {
        var headers: HeaderFields = [
            "Content-Type": contentType ?? "application/octet-stream", "ETag": isXML ? xmlEtag : etag,
            "Last-Modified": httpDate(updated), "x-goog-generation": String(generation),
            "x-goog-metageneration": String(metageneration), "x-goog-stored-content-length": String(size),
            "x-goog-stored-content-encoding": contentEncoding ?? "identity",
            "x-goog-storage-class": attributes["storageClass"]?.text ?? "STANDARD",
        ]
        let optional = [
            ("Content-Encoding", "contentEncoding"), ("Content-Language", "contentLanguage"),
            ("Content-Disposition", "contentDisposition"), ("Cache-Control", "cacheControl"),
        ]
        for (field, member) in optional { headers[field] = attributes[member]?.text }
        // Production sends one list here and repeated fields there; a client must take both.
        let hashes = ["crc32c=\(checksum.base64)"] + (md5.map { ["md5=\($0)"] } ?? [])
        if isXML {
            for hash in hashes { headers.add("x-goog-hash", hash) }
            if let componentCount { headers.add("x-goog-component-count", String(componentCount)) }
            for (key, value) in (attributes["metadata"]?.members ?? [:]).sorted(by: { $0.key < $1.key }) {
                headers.add("x-goog-meta-\(lowercased(key))", value.text ?? "")
            }
        } else {
            headers.add("x-goog-hash", hashes.joined(separator: ","))
        }
        return headers
    }
}
