import Checksums
import Glibc
import LinuxPlatform
import ObjectStorage

/// Content that is complete and has no name in the store yet.
struct StagedFile: Sendable {
    /// Its directory below the store's own, and its name there.
    let directory: String
    let file: String
    let identity: FileIdentity
    let crc32c: CRC32C
}

// Changes: each is one rename (or unlink), prepared before and cleaned up after, so that whoever dies in between leaves
// either the old or the new.
extension StoreDirectory {
    /// Makes a temporary file and fills it.
    ///
    /// - Parameter fill: writes the content and gives its CRC32C.
    func stage(
        _ name: ObjectName,
        _ fill: (borrowing FileDescriptor) throws(ObjectStoreError) -> CRC32C
    ) throws(ObjectStoreError) -> StagedFile {
        let file = String(RandomBytes.number(), radix: 36)
        let own = try madeOwnFiles()
        do throws(ObjectStoreError) {
            let descriptor = try onDisk("write", name.value) { () throws(Errno) in
                let flags = O_RDWR | O_CREAT | O_EXCL
                return try FileDescriptor(path: file, flags: flags, mode: 0o666, relativeTo: own.temporary.rawValue)
            }
            let crc32c = try fill(descriptor)
            let status = try onDisk("write", name.value) { () throws(Errno) in
                if isDurable { try descriptor.synchronize() }
                return try descriptor.status()
            }
            let identity = FileIdentity(status)
            return StagedFile(directory: "temporary", file: file, identity: identity, crc32c: crc32c)
        } catch {
            try? own.temporary.unlink(file)
            throw error
        }
    }

    func discard(_ staged: StagedFile) {
        if isKilled { return }
        try? ownFiles()?.directory.directory(staged.directory).unlink(staged.file)
    }

    /// Gives a staged file its name.
    ///
    /// - Parameters:
    ///   - draft: everything but generation, size, checksum and times.
    ///   - beforeRename: runs when the generation is known and nothing is visible yet.
    func publish(
        _ staged: StagedFile,
        as path: LocalPath,
        _ draft: ObjectAttributes,
        _ precondition: WritePrecondition,
        beforeRename: (ObjectAttributes) throws(ObjectStoreError) -> Void = { _ in }
    ) throws(ObjectStoreError) -> ObjectAttributes {
        try step(.staged)
        return try withLock(path.name) { () throws(ObjectStoreError) in
            try precondition.check(path.name, current: try find(path)?.attributes.generation)
            var attributes = draft
            attributes.name = path.name
            attributes.generation = try nextGeneration()
            attributes.metageneration = 1
            attributes.size = staged.identity.size
            attributes.crc32c = staged.crc32c
            attributes.created = time.timeOfDay()
            attributes.updated = attributes.created
            try beforeRename(attributes)
            let own = try madeOwnFiles()
            let source = try onDisk("publish", path.name.value) { () throws(Errno) in
                try own.directory.directory(staged.directory)
            }
            try rename(source, staged.file, to: path, attributes, staged.identity)
            return attributes
        }
    }

    /// The heart of a change: attributes first, then the name. Called with the lock held.
    private func rename(
        _ source: borrowing FileDescriptor,
        _ leaf: String,
        to path: LocalPath,
        _ attributes: ObjectAttributes,
        _ identity: FileIdentity
    ) throws(ObjectStoreError) {
        try writeAttributes(attributes, identity)
        try step(.attributesWritten)
        let target = try place(source, leaf, as: path)
        try step(.renamed)
        if isDurable { try onDisk("synchronize", path.name.value) { () throws(Errno) in try target.synchronize() } }
        try step(.synchronized)
        removeAttributes(path.name, except: identity)
        try step(.cleanedUp)
    }

    /// Renames a file to its final name; the directory that now holds it.
    private func place(
        _ source: borrowing FileDescriptor,
        _ leaf: String,
        as path: LocalPath
    ) throws(ObjectStoreError) -> FileDescriptor {
        do throws(Errno) {
            let target = try parent(of: path, isMaking: true)
            try source.rename(leaf, to: target, path.leaf)
            return target
        } catch {
            if error == .notDirectory || error == .isDirectory || error == Errno(ENOTEMPTY) {
                throw conflict(path.name)
            }
            return try onDisk("publish", path.name.value) { () throws(Errno) in throw error }
        }
    }

    func move(
        _ source: LocalPath,
        _ generation: Generation,
        to path: LocalPath,
        _ precondition: WritePrecondition
    ) throws(ObjectStoreError) -> ObjectAttributes {
        try withLock(path.name) { () throws(ObjectStoreError) in
            guard let found = try find(source, needsChecksum: true) else { throw missing(source.name, nil) }
            try WritePrecondition.generation(generation).check(source.name, current: found.attributes.generation)
            try precondition.check(path.name, current: try find(path)?.attributes.generation)
            var attributes = found.attributes
            attributes.name = path.name
            attributes.generation = try nextGeneration()
            attributes.metageneration = 1
            attributes.created = time.timeOfDay()
            attributes.updated = attributes.created
            let parent = try onDisk("move", source.name.value) { () throws(Errno) in try self.parent(of: source) }
            try rename(parent, source.leaf, to: path, attributes, found.identity)
            if isDurable { try onDisk("move", source.name.value) { () throws(Errno) in try parent.synchronize() } }
            removeAttributes(source.name, except: nil)
            removeEmptyDirectories(above: source)
            return attributes
        }
    }

    func delete(_ path: LocalPath, _ generation: Generation) throws(ObjectStoreError) {
        try withLock(path.name) { () throws(ObjectStoreError) in
            guard try find(path)?.attributes.generation == generation else { return }
            try onDisk("delete", path.name.value) { () throws(Errno) in
                let parent = try self.parent(of: path)
                try parent.unlink(path.leaf)
                if isDurable { try parent.synchronize() }
            }
            try step(.renamed)
            removeAttributes(path.name, except: nil)
            removeEmptyDirectories(above: path)
        }
    }

    func patch(
        _ path: LocalPath,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?]
    ) throws(ObjectStoreError) -> ObjectAttributes {
        try withLock(path.name) { () throws(ObjectStoreError) in
            guard var found = try find(path, needsChecksum: true) else { throw missing(path.name, nil) }
            try WritePrecondition.generation(generation).check(path.name, current: found.attributes.generation)
            guard found.attributes.metageneration == metageneration else {
                let now = found.attributes.metageneration
                throw ObjectStoreError(
                    .preconditionFailed,
                    "'\(path.name)' has metageneration \(now), not \(metageneration)"
                )
            }
            for (key, value) in metadata { found.attributes.metadata[key] = value }
            try WriteOptions.check(metadata: found.attributes.metadata)
            found.attributes.metageneration += 1
            found.attributes.updated = time.timeOfDay()
            try writeAttributes(found.attributes, found.identity)
            return found.attributes
        }
    }

    /// A directory means nothing to the store: the last object takes it along, as prefixes go in a bucket.
    private func removeEmptyDirectories(above path: LocalPath) {
        var directories = path.directories
        while let name = directories.popLast() {
            guard let above = LocalPath(file: (directories + [name]).joined(separator: "/")),
                let parent = try? parent(of: above), (try? parent.removeDirectory(name)) != nil
            else { return }
        }
    }
}
