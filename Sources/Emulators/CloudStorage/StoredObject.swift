import Checksums
import LinuxPlatform

/// One generation of an object.
struct StoredObject: Sendable, Equatable {
    /// A piece of a blob. Composing and copying share blobs instead of copying bytes.
    struct Extent: Sendable, Equatable {
        let blob: Int64
        let offset: Int
        let count: Int
    }

    let bucket: String
    let name: String
    var generation: Int64
    var metageneration: Int64 = 1
    var extents: [Extent]
    var checksum: CRC32C
    /// Base64; nil for composite objects and when nobody asked for it.
    var md5: String?
    var componentCount: Int?
    var timeCreated: UnixTime
    var updated: UnixTime
    /// The writable members of the resource: `contentType`, `metadata` and so on.
    var attributes: [String: JSONValue]

    var size: Int { extents.reduce(0) { $0 + $1.count } }
    var key: NameKey { NameKey(name) }
    var contentType: String? { attributes["contentType"]?.text }
    var contentEncoding: String? { attributes["contentEncoding"]?.text }

    /// Opaque; changes with generation and metageneration.
    var etag: String { Base64.encode("\(generation)/\(metageneration)".utf8) }
    /// The XML API's: the MD5 in hexadecimal where there is one, quoted.
    var xmlEtag: String {
        let hex = md5.flatMap(Base64.decode).map { bytes in
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        return "\"\(hex ?? "-" + etag)\""
    }
}

extension StoredObject {
    /// The members that a client may set (JSON API, Objects resource).
    static let writableMembers: Set<String> = [
        "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime",
        "eventBasedHold", "metadata", "retention", "storageClass", "temporaryHold",
    ]

    /// The writable members of a resource that a client sent; nulls are left out.
    static func attributes(from resource: JSONValue) -> [String: JSONValue] {
        (resource.members ?? [:]).filter { writableMembers.contains($0.key) && $0.value != .null }.mapValues { value in
            guard case .object(let members) = value else { return value }
            return .object(members.filter { $0.value != .null })
        }
    }

    /// What is kept on disk.
    var record: JSONValue {
        [
            "bucket": .string(bucket), "name": .string(name), "generation": .integer(generation),
            "metageneration": .integer(metageneration), "crc32c": .string(checksum.base64),
            "md5": md5.map(JSONValue.string) ?? .null,
            "componentCount": componentCount.map { .integer(Int64($0)) } ?? .null,
            "timeCreated": .integer(timeCreated.nanoseconds), "updated": .integer(updated.nanoseconds),
            "attributes": .object(attributes), "extents": .array(extents.map(\.record)),
        ]
    }

    /// Reads what `record` wrote; nil when it is damaged.
    init?(record: JSONValue) {
        guard let bucket = record["bucket"]?.text, let name = record["name"]?.text,
            let generation = record["generation"]?.int64, let metageneration = record["metageneration"]?.int64,
            let checksum = record["crc32c"]?.text.flatMap(CRC32C.init(base64:)),
            let created = record["timeCreated"]?.int64, let updated = record["updated"]?.int64,
            let attributes = record["attributes"]?.members, let extents = record["extents"]?.elements
        else { return nil }
        self.bucket = bucket
        self.name = name
        self.generation = generation
        self.metageneration = metageneration
        self.checksum = checksum
        md5 = record["md5"]?.text
        componentCount = record["componentCount"]?.int64.map { Int($0) }
        timeCreated = UnixTime(nanoseconds: created)
        self.updated = UnixTime(nanoseconds: updated)
        self.attributes = attributes
        self.extents = extents.compactMap(Extent.init(record:))
        guard self.extents.count == extents.count else { return nil }
    }
}

extension StoredObject.Extent {
    var record: JSONValue { [.integer(blob), .integer(Int64(offset)), .integer(Int64(count))] }

    init?(record: JSONValue) {
        guard let numbers = record.elements?.compactMap(\.int64), numbers.count == 3, numbers[1] >= 0, numbers[2] >= 0
        else { return nil }
        self.init(blob: numbers[0], offset: Int(numbers[1]), count: Int(numbers[2]))
    }
}
