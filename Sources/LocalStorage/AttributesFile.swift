import Checksums
import FoundationEssentials
import LinuxPlatform
import ObjectStorage

/// Which content a file holds: changes whenever the file is replaced or written to, and stays when it is renamed.
struct FileIdentity: Hashable, Sendable {
    let inode: UInt64
    let size: Int
    /// Nanoseconds since 1970.
    let modified: Int64

    init(_ status: FileStatus) {
        inode = status.inode
        size = status.size
        modified = status.modified.nanoseconds
    }

    /// A generation for a file that another tool put there: the same as long as the file is.
    ///
    /// Generations that this store gives count microseconds and stay below 2^62; these stand above.
    var foreignGeneration: Generation {
        let words = [inode, UInt64(bitPattern: Int64(size)), UInt64(bitPattern: modified)]
        let digest = words.withUnsafeBytes { SHA256Digest.of($0) }
        let hash = digest.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Generation(Int64(hash & (1 << 62 - 1) | 1 << 62))
    }
}

/// What the store knows of an object besides its bytes, as kept beside them: one small JSON file.
///
/// Its name holds the hash of the object's name and the identity of the content, so it is found only by exactly the
/// content it was written for. It is written before the content gets its name: that rename publishes both at once.
struct AttributesFile: Codable, Sendable {
    /// Of a well-formed one; custom metadata has at most 8 KiB.
    static let maximumLength = 64 * 1024

    var version = 1
    var name: String
    var generation: Int64
    var metageneration: Int64
    var crc32c: String?
    var contentType: String?
    var contentEncoding: String?
    var storageClass: String?
    var created: Int64?
    var updated: Int64?
    var metadata: [String: String]

    init(_ attributes: ObjectAttributes) {
        name = attributes.name.value
        generation = attributes.generation.value
        metageneration = attributes.metageneration
        crc32c = attributes.crc32c?.base64
        contentType = attributes.contentType
        contentEncoding = attributes.contentEncoding
        storageClass = attributes.storageClass
        created = attributes.created?.nanoseconds
        updated = attributes.updated?.nanoseconds
        metadata = attributes.metadata
    }

    /// - Throws: `integrity` when it is of another object, or no such file at all.
    func attributes(of name: ObjectName, size: Int) throws(ObjectStoreError) -> ObjectAttributes {
        guard version == 1, self.name.utf8.elementsEqual(name.value.utf8) else {
            throw ObjectStoreError(.integrity, "the attributes kept for '\(name)' are of another object or version")
        }
        return ObjectAttributes(
            name: name,
            generation: Generation(generation),
            metageneration: metageneration,
            size: size,
            crc32c: crc32c.flatMap { CRC32C(base64: $0) },
            contentType: contentType,
            contentEncoding: contentEncoding,
            storageClass: storageClass,
            created: created.map { UnixTime(nanoseconds: $0) },
            updated: updated.map { UnixTime(nanoseconds: $0) },
            metadata: metadata
        )
    }

    /// Where it stands below the directory of attributes: in one of 256 directories.
    static func place(_ name: ObjectName) -> (directory: String, prefix: String) {
        let hash = SHA256Digest.of(Array(name.value.utf8)).hex
        return (String(hash.prefix(2)), String(hash.dropFirst(2)))
    }

    static func fileName(_ prefix: String, _ identity: FileIdentity) -> String {
        "\(prefix).\(identity.inode)-\(identity.modified)-\(identity.size).json"
    }
}

/// JSON of the store's own small files.
enum LocalJSON {
    static func encode(_ value: some Encodable, for object: String) throws(ObjectStoreError) -> [UInt8] {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            return Array(try encoder.encode(value))
        } catch {
            throw ObjectStoreError(.internal, "the attributes of '\(object)' cannot be written as JSON")
        }
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type,
        _ bytes: [UInt8],
        for object: String
    ) throws(ObjectStoreError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw ObjectStoreError(
                .integrity,
                "what the store keeps about '\(object)' is damaged; remove '\(LocalPath.hiddenDirectory)' to keep only "
                    + "the contents"
            )
        }
    }
}
