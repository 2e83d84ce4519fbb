import Checksums
package import ObjectStorage

/// What the journal keeps of an upload session, and of the component when that is whole. The URI is a bearer secret: the description leaves it out.
package struct UploadRecord: Hashable, Sendable, CustomStringConvertible {
    /// Bytes of a session URI that are accepted.
    static let uriLimit = 8192

    package let version: PartVersion
    package let component: ObjectName
    /// Of the component, when it is whole; nil as long as the session must be asked.
    package let generation: Generation?
    let secretURI: String

    package init(_ version: PartVersion, _ session: UploadSession, stored generation: Generation? = nil) {
        self.version = version
        self.generation = generation
        component = session.name
        secretURI = session.secretURI
    }

    package var description: String { "upload of part \(version.part), revision \(version.revision)" }

    /// The bytes of the record.
    package var encoded: [UInt8] {
        var fields = FieldWriter()
        fields.count(version.part)
        fields.count(version.revision)
        fields.count(version.range.lowerBound)
        fields.count(version.range.count)
        fields.flag(version.crc32c != nil)
        fields.number(version.crc32c?.value ?? 0)
        fields.flag(generation != nil)
        fields.number(generation?.value ?? 0)
        fields.text(component.value)
        fields.text(secretURI)
        return fields.bytes
    }

    /// Reads a record; nil for anything else.
    package init?(decoding bytes: [UInt8]) {
        var fields = FieldReader(bytes[...])
        guard let part = try? fields.count(limit: 1 << 24), let revision = try? fields.count(),
            let start = try? fields.count(limit: 1 << 50), let count = try? fields.count(limit: 1 << 50),
            let isProven = try? fields.flag(), let crc32c = try? fields.number(UInt32.self),
            let isStored = try? fields.flag(), let generation = try? fields.number(Int64.self),
            let name = try? fields.text(limit: 1024), let component = try? ObjectName(name),
            let uri = try? fields.text(limit: Self.uriLimit), fields.remaining == 0
        else { return nil }
        version = PartVersion(
            part: part,
            revision: revision,
            range: start..<(start + count),
            crc32c: isProven ? CRC32C(crc32c) : nil
        )
        self.component = component
        self.generation = isStored ? Generation(generation) : nil
        secretURI = uri
    }
}
