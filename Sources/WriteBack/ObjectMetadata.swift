import LinuxPlatform
import Manifests
import ObjectStorage

/// What an object's custom metadata says of the file that it is.
enum ObjectMetadata {
    private static let mode = "penstock-mode"
    private static let user = "penstock-user"
    private static let group = "penstock-group"
    private static let modified = "penstock-modified"
    /// Bytes that the store takes in all, less those of the numbers.
    static let limit = 7 << 10

    static func encoded(_ attributes: NodeAttributes?, operation: String) -> [String: String] {
        var metadata = attributes.map { encoded($0) } ?? [:]
        metadata[MetadataKey.operation] = operation
        return metadata
    }

    private static func encoded(_ attributes: NodeAttributes) -> [String: String] {
        var metadata: [String: String] = [:]
        metadata[mode] = String(attributes.mode, radix: 8)
        metadata[user] = String(attributes.user)
        metadata[group] = String(attributes.group)
        metadata[modified] = String(attributes.modified.nanoseconds)
        if let target = attributes.link { metadata[MetadataKey.link] = target }
        return metadata
    }

    /// What must change in an object's metadata for it to say what the attributes are. What they do not speak of stays.
    static func changes(of metadata: [String: String], to attributes: NodeAttributes) -> [String: String] {
        encoded(attributes).filter { metadata[$0.key] != $0.value }
    }

    /// Whether an object's metadata says the same of both.
    static func isSame(_ one: NodeAttributes, _ other: NodeAttributes) -> Bool { encoded(one) == encoded(other) }

    /// Of an object that a listing showed; what it does not say is as a mount has it that only reads.
    static func decoded(_ object: ObjectAttributes, now: UnixTime) -> NodeAttributes {
        let created = object.updated ?? object.created ?? now
        let time = object.metadata[modified].flatMap { Int64($0) }.map { UnixTime(nanoseconds: $0) } ?? created
        let bits = object.metadata[mode].flatMap { UInt16($0, radix: 8) } ?? 0o644
        var attributes = NodeAttributes(
            mode: bits & 0o777,
            user: object.metadata[user].flatMap { UInt32($0) } ?? 0,
            group: object.metadata[group].flatMap { UInt32($0) } ?? 0,
            time: time
        )
        attributes.link = object.linkTarget
        return attributes
    }
}
