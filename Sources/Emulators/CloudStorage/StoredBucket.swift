import Checksums
import LinuxPlatform

/// A bucket with what is in it.
struct StoredBucket: Sendable {
    struct Folder: Sendable, Equatable {
        var metageneration: Int64 = 1
        let created: UnixTime
        var updated: UnixTime
    }

    let name: String
    /// The members of the resource that the client gave.
    var attributes: [String: JSONValue]
    var metageneration: Int64 = 1
    let created: UnixTime
    var updated: UnixTime
    var objects = SortedNames<StoredObject>()
    /// Only with a hierarchical namespace; names end with a slash.
    var folders = SortedNames<Folder>()
    /// Counts the changes of the record, which folders are part of.
    var version: Int64 = 1

    init(name: String, attributes: [String: JSONValue], created: UnixTime) {
        self.name = name
        self.attributes = attributes
        self.created = created
        updated = created
    }

    var storageClass: String { attributes["storageClass"]?.text ?? "STANDARD" }
    var location: String { attributes["location"]?.text ?? "US" }
    var isHierarchical: Bool { attributes["hierarchicalNamespace"]?["enabled"]?.flag ?? false }

    var locationType: String {
        if let type = attributes["locationType"]?.text { return type }
        return ["US", "EU", "ASIA"].contains(location.uppercased()) ? "multi-region" : "region"
    }

    func resource(origin: String) -> JSONValue {
        var members = attributes
        let own: [String: JSONValue] = [
            "kind": "storage#bucket", "id": .string(name), "name": .string(name), "projectNumber": "0",
            "selfLink": .string("\(origin)/storage/v1/b/\(name)"), "metageneration": .int64(metageneration),
            "timeCreated": .string(created.description), "updated": .string(updated.description),
            "location": .string(location), "locationType": .string(locationType),
            "storageClass": .string(storageClass), "etag": .string(Base64.encode("\(metageneration)".utf8)),
        ]
        members.merge(own) { _, own in own }
        if members["softDeletePolicy"] == nil {
            members["softDeletePolicy"] = [
                "retentionDurationSeconds": "604800", "effectiveTime": .string(created.description),
            ]
        }
        if members["iamConfiguration"] == nil {
            members["iamConfiguration"] = [
                "uniformBucketLevelAccess": ["enabled": .bool(isHierarchical)], "publicAccessPrevention": "inherited",
            ]
        }
        return .object(members)
    }

    /// What is kept on disk.
    var record: JSONValue {
        let folders = self.folders.keys.map { key -> JSONValue in
            let folder = self.folders[key]
            return [
                .string(key.text), .integer(folder?.metageneration ?? 1),
                .integer((folder?.created ?? created).nanoseconds), .integer((folder?.updated ?? updated).nanoseconds),
            ]
        }
        return [
            "name": .string(name), "attributes": .object(attributes), "metageneration": .integer(metageneration),
            "created": .integer(created.nanoseconds), "updated": .integer(updated.nanoseconds),
            "version": .integer(version), "folders": .array(folders),
        ]
    }

    /// Reads what `record` wrote; nil when it is damaged.
    init?(record: JSONValue) {
        guard let name = record["name"]?.text, let attributes = record["attributes"]?.members,
            let metageneration = record["metageneration"]?.int64, let created = record["created"]?.int64,
            let updated = record["updated"]?.int64, let version = record["version"]?.int64
        else { return nil }
        self.init(name: name, attributes: attributes, created: UnixTime(nanoseconds: created))
        self.metageneration = metageneration
        self.updated = UnixTime(nanoseconds: updated)
        self.version = version
        for folder in record["folders"]?.elements ?? [] {
            guard let parts = folder.elements, parts.count == 4, let name = parts[0].text,
                let metageneration = parts[1].int64, let created = parts[2].int64, let updated = parts[3].int64
            else { return nil }
            folders[NameKey(name)] = Folder(
                metageneration: metageneration,
                created: UnixTime(nanoseconds: created),
                updated: UnixTime(nanoseconds: updated)
            )
        }
    }

    var recordName: RecordStore.Name { .init(kind: .buckets, word: "\(name).\(version)") }
}

extension StorageState {
    mutating func createBucket(
        _ name: String,
        attributes: [String: JSONValue],
        now: UnixTime,
        _ change: inout Change
    ) throws(APIError) -> StoredBucket {
        let bytes = Array(name.utf8)
        let isAllowed: (UInt8) -> Bool = { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) || "-_.".utf8.contains(byte)
        }
        guard (3...222).contains(bytes.count), bytes.allSatisfy(isAllowed), let first = bytes.first,
            let last = bytes.last, !"-_.".utf8.contains(first), !"-_.".utf8.contains(last)
        else { throw .invalid("Invalid bucket name: '\(name)'", code: "InvalidBucketName") }
        guard buckets[NameKey(name)] == nil else {
            throw .conflict("Your previous request to create the named bucket succeeded and you already own it.")
        }
        let bucket = StoredBucket(name: name, attributes: attributes, created: now)
        buckets[NameKey(name)] = bucket
        keep(bucket.recordName, bucket.record, &change)
        return bucket
    }

    /// Changes a bucket's own record, not its objects.
    mutating func update(
        _ name: String,
        _ change: inout Change,
        _ edit: (inout StoredBucket) -> Void
    ) throws(APIError) {
        var bucket = try self.bucket(name)
        forget(bucket.recordName, &change)
        edit(&bucket)
        bucket.version += 1
        buckets[NameKey(name)] = bucket
        keep(bucket.recordName, bucket.record, &change)
    }

    mutating func deleteBucket(_ name: String, _ change: inout Change) throws(APIError) {
        let bucket = try self.bucket(name)
        guard bucket.objects.isEmpty, bucket.folders.isEmpty else {
            throw .conflict("The bucket you tried to delete is not empty.")
        }
        for upload in resumables.values where upload.bucket == name { drop(upload, &change) }
        for upload in multiparts.values where upload.bucket == name { drop(upload, &change) }
        forget(bucket.recordName, &change)
        buckets[NameKey(name)] = nil
    }

    /// In a hierarchical bucket an object brings the folders above it into being.
    mutating func createParents(
        of name: String,
        in bucket: String,
        now: UnixTime,
        _ change: inout Change
    ) throws(APIError) {
        let bucket = try self.bucket(bucket)
        guard bucket.isHierarchical else { return }
        let missing = parents(of: name).filter { bucket.folders[$0] == nil }
        if missing.isEmpty { return }
        try update(bucket.name, &change) { bucket in
            for key in missing { bucket.folders[key] = .init(created: now, updated: now) }
        }
    }
}

/// The folders above a name, the outermost first: `a/`, `a/b/` for `a/b/c` and for `a/b/c/`.
func parents(of name: String) -> [NameKey] {
    let bytes = Array(name.utf8)
    return bytes.indices.dropLast().filter { bytes[$0] == UInt8(ascii: "/") }.map { NameKey(bytes[...$0]) }
}
