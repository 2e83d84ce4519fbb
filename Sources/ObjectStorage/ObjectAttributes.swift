package import Checksums
package import LinuxPlatform

/// Which of an object's contents: a number that changes with each new content and is never used again.
///
/// Compare for equality only. Source: Cloud Storage, "Object versioning: generation numbers".
package struct Generation: Hashable, Sendable, CustomStringConvertible {
    package let value: Int64
    package init(_ value: Int64) { self.value = value }
    package var description: String { String(value) }
}

/// A run of an object's bytes.
package struct ByteRange: Hashable, Sendable, CustomStringConvertible {
    package let offset: Int
    package let count: Int

    package init(offset: Int, count: Int) {
        precondition(offset >= 0 && count >= 0 && offset <= Int.max - count)
        self.offset = offset
        self.count = count
    }

    /// The first offset past the range.
    package var end: Int { offset + count }
    /// HTTP's form, both ends included; meaningless for an empty range.
    package var description: String { "\(offset)-\(end - 1)" }
}

/// What a store says of one object.
package struct ObjectAttributes: Hashable, Sendable {
    package var name: ObjectName
    package var generation: Generation
    /// Counts the changes of the metadata of this generation, from 1.
    package var metageneration: Int64
    /// In bytes, as stored.
    package var size: Int
    /// Of the whole content. Missing where the caller may not know it (encryption keys).
    package var crc32c: CRC32C?
    package var contentType: String?
    package var contentEncoding: String?
    package var storageClass: String?
    /// When this generation came to be, and when its metadata last changed, by the server's clock.
    package var created: UnixTime?
    package var updated: UnixTime?
    /// Custom metadata; keys in lower case.
    package var metadata: [String: String]

    package init(
        name: ObjectName,
        generation: Generation,
        metageneration: Int64 = 1,
        size: Int,
        crc32c: CRC32C?,
        contentType: String? = nil,
        contentEncoding: String? = nil,
        storageClass: String? = nil,
        created: UnixTime? = nil,
        updated: UnixTime? = nil,
        metadata: [String: String] = [:]
    ) {
        self.name = name
        self.generation = generation
        self.metageneration = metageneration
        self.size = size
        self.crc32c = crc32c
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.storageClass = storageClass
        self.created = created
        self.updated = updated
        self.metadata = metadata
    }
}

/// What a bucket is, as far as writers must know.
package struct StorageLayout: Hashable, Sendable {
    /// Folders are things of their own and can be renamed whole.
    package var isHierarchical: Bool
    /// `region`, `dual-region`, `multi-region`, `zone` or `local`.
    package var locationType: String
    package var location: String
    /// Seconds that deleted objects stay and are billed; 0 when they go at once; nil when the caller may not know.
    package var softDeleteRetentionSeconds: Int?
    /// A retention policy forbids deleting objects for this long; nil when there is none or it is unknown.
    package var retentionSeconds: Int?
    /// The storage class of objects that name none.
    package var defaultStorageClass: String?

    package init(
        isHierarchical: Bool,
        locationType: String,
        location: String,
        softDeleteRetentionSeconds: Int? = nil,
        retentionSeconds: Int? = nil,
        defaultStorageClass: String? = nil
    ) {
        self.isHierarchical = isHierarchical
        self.locationType = locationType
        self.location = location
        self.softDeleteRetentionSeconds = softDeleteRetentionSeconds
        self.retentionSeconds = retentionSeconds
        self.defaultStorageClass = defaultStorageClass
    }
}
