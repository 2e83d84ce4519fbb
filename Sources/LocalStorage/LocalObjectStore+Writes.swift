import Checksums
import Glibc
package import LinuxPlatform
package import ObjectStorage

extension LocalObjectStore {
    package func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(name)
        try WriteOptions.check(metadata: options.metadata)
        let staged = try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try directory.stage(name) { (file) throws(ObjectStoreError) in
                let crc32c = try write(body, to: file, at: 0, after: .empty, name)
                try options.check(name, received: crc32c)
                return crc32c
            }
        }
        return try await publish(staged, as: path, ObjectAttributes(name, options), options.precondition)
    }

    package func compose(
        _ sources: [ComposeSource],
        into name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(name)
        try WriteOptions.check(metadata: options.metadata)
        guard (1...32).contains(sources.count) else {
            throw ObjectStoreError(.invalidRequest, "'\(name)' composed of \(sources.count) objects, not 1 to 32")
        }
        let staged = try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try directory.stage(name) { (file) throws(ObjectStoreError) in
                var (crc32c, size) = (CRC32C.empty, 0)
                for source in sources {
                    let added = try directory.append(source, to: file, at: size)
                    crc32c = crc32c.combine(with: added.crc32c, count: added.size)
                    size += added.size
                }
                try options.check(name, received: crc32c)
                return crc32c
            }
        }
        return try await publish(staged, as: path, ObjectAttributes(name, options), options.precondition)
    }

    package func copy(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        metadata: [String: String]?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(name)
        try WriteOptions.check(metadata: metadata ?? [:])
        var draft = try await attributes(source, generation: generation)
        if let metadata { draft.metadata = metadata }
        let staged = try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try directory.stage(name) { (file) throws(ObjectStoreError) in
                try directory.append(ComposeSource(source, generation), to: file, at: 0).crc32c
            }
        }
        return try await publish(staged, as: path, draft, precondition)
    }

    package func move(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let (old, new) = (try LocalPath(source), try LocalPath(name))
        if source == name { throw ObjectStoreError(.invalidRequest, "'\(name)' cannot be moved to itself") }
        return try await onChangeThread { [directory] () throws(ObjectStoreError) in
            try directory.move(old, generation, to: new, precondition)
        }
    }

    /// Gives a staged file its name; one that cannot get it is removed.
    func publish(
        _ staged: StagedFile,
        as path: LocalPath,
        _ draft: ObjectAttributes,
        _ precondition: WritePrecondition
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        do throws(ObjectStoreError) {
            return try await onChangeThread { [directory] () throws(ObjectStoreError) in
                try directory.publish(staged, as: path, draft, precondition)
            }
        } catch {
            directory.discard(staged)
            throw error
        }
    }
}

extension ObjectAttributes {
    /// What a write says of its object; the store fills in the rest.
    init(_ name: ObjectName, _ options: WriteOptions) {
        self.init(
            name: name,
            generation: Generation(0),
            size: 0,
            crc32c: nil,
            contentType: options.contentType,
            storageClass: options.storageClass,
            metadata: options.metadata
        )
    }
}

/// Writes a body behind bytes whose CRC32C is `before`; the CRC32C of all.
func write(
    _ body: ByteSegments,
    to file: borrowing FileDescriptor,
    at start: Int,
    after before: CRC32C,
    _ name: ObjectName
) throws(ObjectStoreError) -> CRC32C {
    var (crc32c, offset) = (before, start)
    try body.forEachPiece { (piece) throws(ObjectStoreError) in
        crc32c = crc32c.updated(with: piece)
        try onDisk("write", name.value) { () throws(Errno) in try file.write(piece, at: offset) }
        offset += piece.count
    }
    return crc32c
}

extension StoreDirectory {
    /// Copies a pinned object to the end of a file. Its CRC32C goes along unread: rot stays detectable.
    func append(
        _ source: ComposeSource,
        to file: borrowing FileDescriptor,
        at offset: Int
    ) throws(ObjectStoreError) -> (size: Int, crc32c: CRC32C) {
        let path = try LocalPath(source.name)
        guard let found = try find(path, needsChecksum: true), found.attributes.generation == source.generation,
            let crc32c = found.attributes.crc32c, let content = try open(path)
        else { throw missing(source.name, source.generation) }
        let identity = try onDisk("copy", source.name.value) { () throws(Errno) in
            try file.copy(from: content, count: found.identity.size, to: offset)
            return FileIdentity(try content.status())
        }
        // Replaced before it was opened, or written to while it was read.
        if identity != found.identity { throw missing(source.name, source.generation) }
        return (found.identity.size, crc32c)
    }
}
