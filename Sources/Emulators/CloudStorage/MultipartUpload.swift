import Checksums
import LinuxPlatform

/// An upload of the XML API whose parts come separately.
struct MultipartUpload: Sendable {
    struct Part: Sendable, Equatable {
        let extent: StoredObject.Extent
        let checksum: CRC32C
        let md5: String?
        let modified: UnixTime

        /// Opaque and quoted.
        let etag: String
    }

    let id: String
    let bucket: String
    let name: String
    let attributes: [String: JSONValue]
    let initiated: UnixTime
    var parts: [Int: Part] = [:]
    var version: Int64 = 1

    var recordName: RecordStore.Name { .init(kind: .uploads, word: "\(id).\(version)") }

    var record: JSONValue {
        let parts = self.parts.sorted { $0.key < $1.key }.map { number, part -> JSONValue in
            [
                .integer(Int64(number)), part.extent.record, .string(part.checksum.base64),
                part.md5.map(JSONValue.string) ?? .null, .integer(part.modified.nanoseconds), .string(part.etag),
            ]
        }
        return [
            "kind": "multipart", "id": .string(id), "bucket": .string(bucket), "name": .string(name),
            "attributes": .object(attributes), "initiated": .integer(initiated.nanoseconds),
            "version": .integer(version), "parts": .array(parts),
        ]
    }

    init(id: String, bucket: String, name: String, attributes: [String: JSONValue], initiated: UnixTime) {
        self.id = id
        self.bucket = bucket
        self.name = name
        self.attributes = attributes
        self.initiated = initiated
    }

    /// Reads what `record` wrote; nil when it is damaged or of another kind.
    init?(record: JSONValue) {
        guard record["kind"] == "multipart", let id = record["id"]?.text, let bucket = record["bucket"]?.text,
            let name = record["name"]?.text, let attributes = record["attributes"]?.members,
            let initiated = record["initiated"]?.int64, let version = record["version"]?.int64
        else { return nil }
        self.init(
            id: id,
            bucket: bucket,
            name: name,
            attributes: attributes,
            initiated: UnixTime(nanoseconds: initiated)
        )
        self.version = version
        for part in record["parts"]?.elements ?? [] {
            guard let values = part.elements, values.count == 6, let number = values[0].int64,
                let extent = StoredObject.Extent(record: values[1]),
                let checksum = values[2].text.flatMap(CRC32C.init(base64:)), let modified = values[4].int64,
                let etag = values[5].text
            else { return nil }
            parts[Int(number)] = Part(
                extent: extent,
                checksum: checksum,
                md5: values[3].text,
                modified: UnixTime(nanoseconds: modified),
                etag: etag
            )
        }
    }
}

extension StorageState {
    mutating func save(_ upload: MultipartUpload, _ change: inout Change) {
        if let old = multiparts[upload.id] { forget(old.recordName, &change) }
        var upload = upload
        upload.version += 1
        multiparts[upload.id] = upload
        keep(upload.recordName, upload.record, &change)
    }

    /// Forgets an upload and the bytes of its parts.
    mutating func drop(_ upload: MultipartUpload, _ change: inout Change) {
        release(upload.parts.values.map(\.extent), &change)
        forget(upload.recordName, &change)
        multiparts[upload.id] = nil
    }
}
