import Checksums
import LinuxPlatform

/// A resumable upload session.
struct ResumableUpload: Sendable {
    enum Phase: Sendable, Equatable {
        case open
        /// Became this generation; the resource is kept, so that a lost reply can be asked for again.
        case finished(StoredObject)
        /// Cancelled, or refused when it was to be finished.
        case gone(HTTPStatus)
    }

    let id: String
    let bucket: String
    let name: String
    let attributes: [String: JSONValue]
    let conditions: Preconditions
    /// The size given at the start.
    let declaredSize: Int?
    /// What the start said that the content will be.
    let expected: ExpectedDigests
    let blob: Int64
    var phase = Phase.open
    /// How many bytes are persisted, and their checksum.
    var committed = 0
    var checksum = CRC32C.empty
    /// Counts the requests that write: an older one must not go on beside a newer.
    var writer = 0
    var version: Int64 = 1

    var extents: [StoredObject.Extent] { [.init(blob: blob, offset: 0, count: committed)] }
}

/// Digests that the client says its content has.
struct ExpectedDigests: Sendable, Equatable {
    var crc32c: String?
    var md5: String?

    /// From the members of a resource.
    init(resource: JSONValue) {
        crc32c = resource["crc32c"]?.text
        md5 = resource["md5Hash"]?.text
    }

    /// From `x-goog-hash` (a list, or repeated) and `Content-MD5`.
    init(headers: HeaderFields) {
        md5 = headers["Content-MD5"]
        for value in headers.all("x-goog-hash") {
            for item in value.utf8.split(separator: UInt8(ascii: ",")) {
                let text = trimmed(String(Substring(item)))
                if text.hasPrefix("crc32c=") { crc32c = String(text.dropFirst(7)) }
                if text.hasPrefix("md5=") { md5 = String(text.dropFirst(4)) }
            }
        }
    }

    /// These, and those of the other where there is none.
    func or(_ other: ExpectedDigests) -> ExpectedDigests {
        var both = self
        both.crc32c = crc32c ?? other.crc32c
        both.md5 = md5 ?? other.md5
        return both
    }

    /// - Throws: 400 when a digest is another.
    func check(crc32c computed: CRC32C, md5 computedMD5: String?) throws(APIError) {
        if let crc32c, CRC32C(base64: crc32c) != computed {
            throw .badDigest("CRC32C", provided: crc32c, computed: computed.base64)
        }
        if let md5, let computedMD5, md5 != computedMD5 {
            throw .badDigest("MD5 hash", provided: md5, computed: computedMD5)
        }
    }
}

extension StorageState {
    mutating func save(_ upload: ResumableUpload, _ change: inout Change) {
        if let old = resumables[upload.id] { forget(old.recordName, &change) }
        var upload = upload
        upload.version += 1
        resumables[upload.id] = upload
        keep(upload.recordName, upload.record, &change)
    }

    /// Forgets an upload and its bytes.
    mutating func drop(_ upload: ResumableUpload, _ change: inout Change) {
        if upload.phase == .open { release([.init(blob: upload.blob, offset: 0, count: 0)], &change) }
        forget(upload.recordName, &change)
        resumables[upload.id] = nil
    }

    /// Ends an upload; what it holds is given back.
    mutating func end(_ upload: ResumableUpload, as phase: ResumableUpload.Phase, _ change: inout Change) {
        guard upload.phase == .open else { return }
        release([.init(blob: upload.blob, offset: 0, count: 0)], &change)
        var ended = upload
        ended.phase = phase
        save(ended, &change)
    }
}

extension ResumableUpload {
    var recordName: RecordStore.Name { .init(kind: .uploads, word: "\(id).\(version)") }

    var record: JSONValue {
        var phaseRecord: JSONValue = "open"
        switch phase {
        case .open: break
        case .finished(let object): phaseRecord = object.record
        case .gone(let status): phaseRecord = .integer(Int64(status.code))
        }
        return [
            "kind": "resumable", "id": .string(id), "bucket": .string(bucket), "name": .string(name),
            "attributes": .object(attributes), "conditions": conditions.record,
            "declaredSize": declaredSize.map { .integer(Int64($0)) } ?? .null,
            "crc32c": expected.crc32c.map(JSONValue.string) ?? .null,
            "md5Hash": expected.md5.map(JSONValue.string) ?? .null, "blob": .integer(blob),
            "phase": phaseRecord, "committed": .integer(Int64(committed)), "checksum": .string(checksum.base64),
            "version": .integer(version),
        ]
    }

    /// Reads what `record` wrote; nil when it is damaged or of another kind.
    init?(record: JSONValue) {
        guard record["kind"] == "resumable", let id = record["id"]?.text, let bucket = record["bucket"]?.text,
            let name = record["name"]?.text, let attributes = record["attributes"]?.members,
            let conditions = record["conditions"], let blob = record["blob"]?.int64,
            let committed = record["committed"]?.int64, let version = record["version"]?.int64,
            let checksum = record["checksum"]?.text.flatMap(CRC32C.init(base64:)), let phase = record["phase"]
        else { return nil }
        self.id = id
        self.bucket = bucket
        self.name = name
        self.attributes = attributes
        self.conditions = Preconditions(record: conditions)
        declaredSize = record["declaredSize"]?.int64.map { Int($0) }
        expected = ExpectedDigests(resource: record)
        self.blob = blob
        self.committed = Int(committed)
        self.checksum = checksum
        self.version = version
        if let status = phase.int64 {
            self.phase = .gone(HTTPStatus(Int(status)))
        } else if let object = StoredObject(record: phase) {
            self.phase = .finished(object)
        }
    }
}

extension Preconditions {
    var record: JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map(JSONValue.integer) ?? .null }
        return [
            "generationMatch": number(generationMatch), "generationNotMatch": number(generationNotMatch),
            "metagenerationMatch": number(metagenerationMatch),
            "metagenerationNotMatch": number(metagenerationNotMatch),
        ]
    }

    init(record: JSONValue) {
        generationMatch = record["generationMatch"]?.int64
        generationNotMatch = record["generationNotMatch"]?.int64
        metagenerationMatch = record["metagenerationMatch"]?.int64
        metagenerationNotMatch = record["metagenerationNotMatch"]?.int64
    }
}
