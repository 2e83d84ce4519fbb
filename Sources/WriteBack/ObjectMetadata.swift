import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage

/// What an object's custom metadata says of the file that it is.
enum ObjectMetadata {
    private static let mode = "penstock-mode"
    private static let user = "penstock-user"
    private static let group = "penstock-group"
    private static let modified = "penstock-modified"
    /// Extended attributes: names and values as in the journal, in Base64. Left out, or empty, for none.
    private static let extended = "penstock-xattrs"
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
        if !attributes.extended.isEmpty {
            var fields = FieldWriter()
            NodeAttributes.encode(attributes.extended, &fields)
            metadata[extended] = Base64.encode(fields.bytes)
        }
        return metadata
    }

    /// What is no list of extended attributes says nothing.
    private static func extendedAttributes(_ text: String) -> [NodeAttributes.Extended] {
        guard text.utf8.count <= limit, let bytes = Base64.decode(text) else { return [] }
        var fields = FieldReader(bytes[...])
        guard let found = try? NodeAttributes.extended(&fields), fields.remaining == 0 else { return [] }
        let names = found.map(\.name)
        let isSorted = zip(names, names.dropFirst()).allSatisfy { $0 < $1 }
        // As the kernel lets them through: others wrote this.
        let isNamed = names.allSatisfy { $0.value.utf8.starts(with: "user.".utf8) && !$0.value.utf8.contains(0) }
        let size = found.reduce(0) { $0 + $1.name.value.utf8.count + $1.value.count }
        return isSorted && isNamed && size <= NodeAttributes.textLimit ? found : []
    }

    /// What must change in an object's metadata for it to say what the attributes are. What they do not speak of stays.
    static func changes(of metadata: [String: String], to attributes: NodeAttributes) -> [String: String] {
        var wanted = encoded(attributes)
        // All of them were removed.
        if wanted[extended] == nil, metadata[extended]?.isEmpty == false { wanted[extended] = "" }
        return wanted.filter { metadata[$0.key] != $0.value }
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
        attributes.extended = object.metadata[extended].map { extendedAttributes($0) } ?? []
        return attributes
    }
}
