import Checksums
import LinuxPlatform
import ObjectStorage

/// A bucket as a value: what each operation does to it, with the rules of Cloud Storage.
///
/// Source: `objects`, `folders` of the JSON API and multipart uploads of the XML API.
struct MemoryBucketState {
    struct StoredObject {
        var attributes: ObjectAttributes
        var bytes: [UInt8]
    }

    struct Session {
        let name: ObjectName
        let size: Int?
        let options: WriteOptions
        var bytes: [UInt8] = []
        var finished: ObjectAttributes?
    }

    struct Part {
        let bytes: [UInt8]
        let etag: String
    }

    struct Multipart {
        let name: ObjectName
        let options: WriteOptions
        var parts: [Int: Part] = [:]
    }

    let options: MemoryBucket.Options
    var objects: [ObjectName: StoredObject] = [:]
    var sessions: [String: Session] = [:]
    var multiparts: [String: Multipart] = [:]
    var folders: Set<String> = []
    /// Generations, sessions and uploads are numbered by one counter: never again the same.
    var lastNumber: Int64 = 1000
    /// Bytes of resumable uploads that were kept, and those that came although they had been.
    var receivedBytes = 0
    var repeatedBytes = 0

    init(options: MemoryBucket.Options) { self.options = options }

    mutating func nextNumber() -> Int64 {
        lastNumber += 1
        return lastNumber
    }

    func stored(_ name: ObjectName, _ generation: Generation?) throws(ObjectStoreError) -> StoredObject {
        guard let object = objects[name], generation == nil || generation == object.attributes.generation else {
            let which = generation.map { " of generation \($0)" } ?? ""
            throw ObjectStoreError(.notFound, "there is no object '\(name)'\(which)", status: 404)
        }
        return object
    }

    /// Makes an object, if the precondition holds and the promised checksum is right.
    mutating func write(
        _ name: ObjectName,
        _ bytes: [UInt8],
        _ options: WriteOptions,
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        try WriteOptions.check(metadata: options.metadata)
        try options.precondition.check(name, current: objects[name]?.attributes.generation)
        let crc32c = CRC32C.of(bytes)
        try options.check(name, received: crc32c)
        return insert(
            ObjectAttributes(
                name: name,
                generation: Generation(0),
                size: bytes.count,
                crc32c: crc32c,
                contentType: options.contentType,
                storageClass: options.storageClass ?? "STANDARD",
                metadata: options.metadata
            ),
            bytes,
            at: now
        )
    }

    /// Puts an object in place under a new generation, whatever was there.
    mutating func insert(_ attributes: ObjectAttributes, _ bytes: [UInt8], at now: UnixTime) -> ObjectAttributes {
        var attributes = attributes
        attributes.generation = Generation(nextNumber())
        attributes.metageneration = 1
        attributes.created = now
        attributes.updated = now
        objects[attributes.name] = StoredObject(attributes: attributes, bytes: bytes)
        if options.isHierarchical { addParents(of: attributes.name.value) }
        return attributes
    }

    mutating func compose(
        _ sources: [ComposeSource],
        into name: ObjectName,
        _ options: WriteOptions,
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        guard (1...32).contains(sources.count) else {
            throw ObjectStoreError(
                .invalidRequest,
                "'\(name)' composed of \(sources.count) objects, not 1 to 32",
                status: 400
            )
        }
        var bytes: [UInt8] = []
        for source in sources { bytes += try stored(source.name, source.generation).bytes }
        return try write(name, bytes, options, at: now)
    }

    mutating func copy(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        metadata: [String: String]?,
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        let object = try stored(source, generation)
        try WriteOptions.check(metadata: metadata ?? [:])
        try precondition.check(name, current: objects[name]?.attributes.generation)
        var attributes = object.attributes
        attributes.name = name
        if let metadata { attributes.metadata = metadata }
        return insert(attributes, object.bytes, at: now)
    }

    mutating func move(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        if source == name {
            throw ObjectStoreError(.invalidRequest, "'\(name)' cannot be moved to itself", status: 400)
        }
        let object = try stored(source, nil)
        try WritePrecondition.generation(generation).check(source, current: object.attributes.generation)
        let moved = try copy(
            source,
            generation,
            to: name,
            precondition: precondition,
            metadata: nil,
            at: now
        )
        objects[source] = nil
        return moved
    }

    mutating func delete(_ name: ObjectName, _ generation: Generation) {
        if objects[name]?.attributes.generation == generation { objects[name] = nil }
    }

    mutating func patch(
        _ name: ObjectName,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?],
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        var object = try stored(name, nil)
        try WritePrecondition.generation(generation).check(name, current: object.attributes.generation)
        guard object.attributes.metageneration == metageneration else {
            let found = object.attributes.metageneration
            throw ObjectStoreError(
                .preconditionFailed,
                "'\(name)' has metageneration \(found), not \(metageneration)",
                status: 412
            )
        }
        var changed = object.attributes.metadata
        for (key, value) in metadata { changed[key] = value }
        try WriteOptions.check(metadata: changed)
        object.attributes.metadata = changed
        object.attributes.metageneration += 1
        object.attributes.updated = now
        objects[name] = object
        return object.attributes
    }

    func list(_ request: ListRequest) throws(ObjectStoreError) -> ListPage {
        var request = request
        if options.hasEmptyPages {
            // Cloud Storage may answer with a page that holds nothing and goes on.
            guard let token = request.pageToken, token.hasPrefix("+") else {
                return ListPage(nextPageToken: "+" + (request.pageToken ?? ""))
            }
            request.pageToken = token.count > 1 ? String(token.dropFirst()) : nil
        }
        let cut = try request.cut(objects.keys.sorted())
        return ListPage(
            objects: cut.objects.compactMap { objects[$0]?.attributes },
            prefixes: cut.prefixes,
            nextPageToken: cut.nextPageToken
        )
    }
}
