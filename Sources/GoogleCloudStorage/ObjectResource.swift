import Checksums
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage

/// An object as the JSON API describes it; only what we use. Unknown fields are passed over.
///
/// Source: Cloud Storage JSON API, "Objects".
struct ObjectResource: Decodable, Sendable {
    /// What to ask for with `fields`.
    static let fields =
        "name,generation,metageneration,size,crc32c,contentType,contentEncoding,storageClass,timeCreated,updated,metadata"
    static let listFields = "items(\(fields)),prefixes,nextPageToken"

    var name: String?
    var generation: LenientInteger?
    var metageneration: LenientInteger?
    var size: LenientInteger?
    var crc32c: String?
    var contentType: String?
    var contentEncoding: String?
    var storageClass: String?
    var timeCreated: String?
    var updated: String?
    var metadata: [String: String]?

    /// - Throws: `protocolViolation` when something is missing or makes no sense.
    func attributes(_ subject: String) throws(ObjectStoreError) -> ObjectAttributes {
        guard let name, let generation = generation?.value, let size = size?.value, size >= 0 else {
            throw ObjectStoreError(
                .protocolViolation,
                "\(subject): the server's description of the object lacks name, generation or size"
            )
        }
        let crc = try crc32c.map { text throws(ObjectStoreError) in
            guard let crc = CRC32C(base64: text) else {
                throw ObjectStoreError(.protocolViolation, "\(subject): the server's crc32c is not one")
            }
            return crc
        }
        return ObjectAttributes(
            name: try ObjectName(name),
            generation: Generation(generation),
            metageneration: metageneration?.value ?? 1,
            size: Int(size),
            crc32c: crc,
            contentType: contentType,
            contentEncoding: contentEncoding.flatMap { $0.isEmpty ? nil : $0 },
            storageClass: storageClass,
            created: timeCreated.flatMap(UnixTime.init(rfc3339:)),
            updated: updated.flatMap(UnixTime.init(rfc3339:)),
            metadata: metadata ?? [:]
        )
    }

    static func attributes(in response: HTTPResponse, _ subject: String) throws(ObjectStoreError) -> ObjectAttributes {
        guard let resource = JSONValues.decode(ObjectResource.self, from: response.body) else {
            throw ObjectStoreError(
                .protocolViolation,
                "\(subject): the server's reply is not a description of an object",
                status: response.status,
                requestID: response.headers[requestIDField]
            )
        }
        return try resource.attributes(subject)
    }
}

/// What a write tells the JSON API of the new object.
struct ObjectDescription: Encodable, Sendable {
    var name: String?
    var contentType: String?
    var metadata: [String: String]?
    var storageClass: String?
    var crc32c: String?
    /// Source: Cloud Storage, "Cache-Control": without it objects that anybody may read are cached for an hour.
    var cacheControl: String?

    init(_ name: ObjectName?, _ options: WriteOptions) {
        self.name = name?.value
        contentType = options.contentType
        metadata = options.metadata.isEmpty ? nil : options.metadata
        storageClass = options.storageClass
        crc32c = options.crc32c?.base64
        cacheControl = options.mayBeCached ? nil : "no-store"
    }
}

extension WritePrecondition {
    /// The JSON API's query parameter.
    var parameters: [(name: String, value: String?)] {
        switch self {
        case .absent: [(name: "ifGenerationMatch", value: "0")]
        case .generation(let generation): [(name: "ifGenerationMatch", value: generation.description)]
        case .any: []
        }
    }

    var repeatability: Repeatability { self == .any ? .onlyIfRefused : .always }
}
