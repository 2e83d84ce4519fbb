import Checksums
import Glibc
import LinuxPlatform
import ObjectStorage

extension StoreDirectory {
    /// What stands under a name; nil when nothing does.
    ///
    /// - Parameter needsChecksum: computes the CRC32C of a foreign file; otherwise it may be missing.
    func find(_ path: LocalPath, needsChecksum: Bool = false) throws(ObjectStoreError) -> Found? {
        // A change between our looks at the content and at its attributes shows as attributes that are missing: look
        // again. Only a file that stays the same without attributes is a foreign one.
        var before: FileIdentity?
        for _ in 0..<100 {
            guard let status = try status(path), status.kind == .regular else { return nil }
            let identity = FileIdentity(status)
            if let file = try readAttributes(path.name, identity) {
                let attributes = try file.attributes(of: path.name, size: identity.size)
                let isForeign = attributes.generation == identity.foreignGeneration
                return Found(attributes: attributes, identity: identity, isForeign: isForeign)
            }
            if before == identity { return try foreign(path, identity, needsChecksum) }
            before = identity
        }
        throw ObjectStoreError(.unavailable, "'\(path.name)' changes faster than it can be looked at")
    }

    private func status(_ path: LocalPath) throws(ObjectStoreError) -> FileStatus? {
        do throws(Errno) {
            return try parent(of: path).status(of: path.leaf)
        } catch {
            if [.noEntry, .notDirectory, Errno(ELOOP)].contains(error) { return nil }
            return try onDisk("look at", path.name.value) { () throws(Errno) in throw error }
        }
    }

    /// A file that another tool made or changed.
    private func foreign(
        _ path: LocalPath,
        _ identity: FileIdentity,
        _ needsChecksum: Bool
    ) throws(ObjectStoreError) -> Found? {
        let modified = UnixTime(nanoseconds: identity.modified)
        var attributes = ObjectAttributes(
            name: path.name,
            generation: identity.foreignGeneration,
            size: identity.size,
            crc32c: nil,
            created: modified,
            updated: modified
        )
        if needsChecksum {
            guard let file = try open(path) else { return nil }
            attributes.crc32c = try checksum(of: file, identity, path.name)
            remember(attributes, identity)
        }
        return Found(attributes: attributes, identity: identity, isForeign: true)
    }

    /// Of a whole file, read from the disk.
    func checksum(
        of file: borrowing FileDescriptor,
        _ identity: FileIdentity,
        _ name: ObjectName
    ) throws(ObjectStoreError) -> CRC32C {
        let (crc32c, after) = try onDisk("read", name.value) { () throws(Errno) in
            let buffer = BufferLease(size: 1 << 20)
            var crc32c = CRC32C.empty
            var offset = 0
            while true {
                let count = try file.read(into: buffer.bytes, at: offset)
                if count == 0 { break }
                crc32c = crc32c.updated(with: UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
                offset += count
            }
            return (crc32c, FileIdentity(try file.status()))
        }
        guard after == identity else {
            throw ObjectStoreError(.unavailable, "'\(name)' changed while it was read; try again")
        }
        return crc32c
    }

    /// Spares the next one the reading. A file written a moment ago may be written again within the same tick of the
    /// clock, so it is not remembered; nor is anybody kept waiting for it, or asked for permission to write.
    private func remember(_ attributes: ObjectAttributes, _ identity: FileIdentity) {
        let settled = UnixTime(nanoseconds: identity.modified).advanced(by: .seconds(2))
        guard settled < time.timeOfDay(),
            let own = try? madeOwnFiles().directory.rawValue,
            let lock = try? FileLock(path: "lock", relativeTo: own, patience: .zero)
        else { return }
        // A patch may have been quicker, and knows more.
        if case .some(.none) = try? readAttributes(attributes.name, identity) {
            try? writeAttributes(attributes, identity)
        }
        lock.unlock()
    }

    func readAttributes(_ name: ObjectName, _ identity: FileIdentity) throws(ObjectStoreError) -> AttributesFile? {
        guard let own = try ownFiles() else { return nil }
        let (directory, prefix) = AttributesFile.place(name)
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try DurableFile.read(
                "\(directory)/\(AttributesFile.fileName(prefix, identity))",
                limit: AttributesFile.maximumLength,
                relativeTo: own.attributes.rawValue
            )
        } catch {
            if error == .noEntry { return nil }
            return try onDisk("read the attributes of", name.value) { () throws(Errno) in throw error }
        }
        return try LocalJSON.decode(AttributesFile.self, bytes, for: name.value)
    }

    func writeAttributes(_ new: ObjectAttributes, _ identity: FileIdentity) throws(ObjectStoreError) {
        let (directory, prefix) = AttributesFile.place(new.name)
        let bytes = try LocalJSON.encode(AttributesFile(new), for: new.name.value)
        let own = try madeOwnFiles()
        try onDisk("write the attributes of", new.name.value) { () throws(Errno) in
            do throws(Errno) {
                try own.attributes.makeDirectory(directory)
                if isDurable { try own.attributes.synchronize() }
            } catch {
                if error != .exists { throw error }
            }
            try DurableFile.replace(
                "\(directory)/\(AttributesFile.fileName(prefix, identity))",
                bytes,
                relativeTo: own.attributes.rawValue,
                isSynchronized: isDurable
            )
        }
    }

    /// Removes what is kept about a name for any content but `kept`: of the one replaced, and of changes that were
    /// killed before they were visible.
    func removeAttributes(_ name: ObjectName, except kept: FileIdentity?) {
        let (directory, prefix) = AttributesFile.place(name)
        guard let own = try? ownFiles(), let folder = try? own.attributes.directory(directory),
            let entries = try? folder.entries()
        else { return }
        let keptName = kept.map { AttributesFile.fileName(prefix, $0) }
        for entry in entries where entry.name.hasPrefix("\(prefix).") && entry.name != keptName {
            try? folder.unlink(entry.name)
        }
    }
}
