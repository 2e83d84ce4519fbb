import Checksums
import Glibc
package import LinuxPlatform
package import ObjectStorage

// A resumable upload is a directory: `upload.json`, the bytes in `data`, how many of them count in `progress.json`, and
// `result.json`, which is written just before `data` becomes the object. So whoever finds a result and no data knows
// that the object was published.
extension LocalObjectStore {
    /// What each chunk but the last must be a multiple of, as on Cloud Storage.
    private static let granularity = 256 * 1024

    package func beginUpload(
        _ name: ObjectName,
        size: Int?,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> UploadSession {
        let path = try LocalPath(name)
        try WriteOptions.check(metadata: options.metadata)
        return try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try options.precondition.check(name, current: try directory.find(path)?.attributes.generation)
            let record = UploadRecord(name, size: size, options)
            let upload = try UploadDirectory.make("uploads", in: directory, record)
            return UploadSession(secretURI: upload.identifier, name: name)
        }
    }

    package func uploadProgress(_ session: UploadSession) async throws(ObjectStoreError) -> UploadProgress {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try directory.progress(of: try directory.upload(session), session.name)
        }
    }

    package func cancelUpload(_ session: UploadSession) async throws(ObjectStoreError) {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            do throws(ObjectStoreError) {
                try directory.upload(session).remove()
            } catch {
                if error.code != .sessionLost { throw error }
            }
        }
    }

    package func continueUpload(
        _ session: UploadSession,
        _ body: ByteSegments,
        at offset: Int,
        isLast: Bool
    ) async throws(ObjectStoreError) -> UploadProgress {
        guard isLast || body.count % Self.granularity == 0 else {
            throw ObjectStoreError(
                .invalidRequest,
                "'\(session.name)': a chunk of \(body.count) bytes is no multiple of 256 KiB"
            )
        }
        let received = try await onDiskThread { [directory] () throws(ObjectStoreError) in
            let upload = try directory.upload(session)
            let lock = try upload.lock(session.name)
            let result = Result { () throws(ObjectStoreError) in
                try directory.receive(body, at: offset, isLast: isLast, upload, session.name)
            }
            lock.unlock()
            return try result.get()
        }
        guard isLast, case .persisted(let count) = received, count == offset + body.count else { return received }
        return .finished(try await finish(session))
    }

    /// Makes the object; an upload that cannot become one is over.
    private func finish(_ session: UploadSession) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(session.name)
        return try await onChangeThread { [directory] () throws(ObjectStoreError) in
            let upload = try directory.upload(session)
            if case .finished(let attributes) = try directory.progress(of: upload, session.name) { return attributes }
            do throws(ObjectStoreError) {
                return try directory.finish(upload, as: path)
            } catch {
                let isOver = [.preconditionFailed, .integrity, .invalidName].contains(error.code)
                if isOver, !directory.isKilled { upload.remove() }
                throw error
            }
        }
    }
}

extension StoreDirectory {
    func upload(_ session: UploadSession) throws(ObjectStoreError) -> UploadDirectory {
        do throws(Errno) {
            return try UploadDirectory.open("uploads", session.secretURI, in: self)
        } catch {
            throw ObjectStoreError(
                .sessionLost,
                "the upload of '\(session.name)' is gone (\(error)): upload again from the start"
            )
        }
    }

    func progress(
        of upload: borrowing UploadDirectory,
        _ name: ObjectName
    ) throws(ObjectStoreError) -> UploadProgress {
        if let result = try upload.read(AttributesFile.self, "result.json"),
            let count = try upload.read(ProgressRecord.self, "progress.json")?.count,
            (try? upload.descriptor.status(of: "data")) == nil
        {
            return .finished(try result.attributes(of: name, size: count))
        }
        return .persisted(try upload.read(ProgressRecord.self, "progress.json")?.count ?? 0)
    }

    /// Appends what the upload does not have yet.
    func receive(
        _ body: ByteSegments,
        at offset: Int,
        isLast: Bool,
        _ upload: borrowing UploadDirectory,
        _ name: ObjectName
    ) throws(ObjectStoreError) -> UploadProgress {
        if case .finished(let attributes) = try progress(of: upload, name) { return .finished(attributes) }
        var held = try upload.read(ProgressRecord.self, "progress.json") ?? ProgressRecord(count: 0, crc32c: 0)
        guard offset <= held.count else {
            throw ObjectStoreError(.unavailable, "'\(name)': bytes from \(offset) on where \(held.count) is next")
        }
        let end = offset + body.count
        if isLast, let size = try upload.record().size, size != end {
            throw ObjectStoreError(.invalidRequest, "'\(name)': \(end) bytes where \(size) were promised")
        }
        let file = try onDisk("write", name.value) { () throws(Errno) in
            let flags = O_RDWR | O_CREAT
            return try FileDescriptor(path: "data", flags: flags, mode: 0o666, relativeTo: upload.descriptor.rawValue)
        }
        if end > held.count {
            let fresh = body.dropping(held.count - offset)
            let crc32c = try write(fresh, to: file, at: held.count, after: CRC32C(held.crc32c), name)
            held = ProgressRecord(count: end, crc32c: crc32c.value)
        }
        // Bytes behind those that count are left from a write that was killed.
        try onDisk("write", name.value) { () throws(Errno) in
            try file.truncate(to: held.count)
            if isDurable { try file.synchronize() }
        }
        try upload.write(held, "progress.json")
        return .persisted(held.count)
    }

    func finish(
        _ upload: borrowing UploadDirectory,
        as path: LocalPath
    ) throws(ObjectStoreError) -> ObjectAttributes {
        let options = try upload.record().options
        guard let held = try upload.read(ProgressRecord.self, "progress.json") else {
            throw ObjectStoreError(.integrity, "the upload of '\(path.name)' has lost its count of bytes")
        }
        try options.check(path.name, received: CRC32C(held.crc32c))
        let status = try onDisk("publish", path.name.value) { () throws(Errno) in
            try upload.descriptor.status(of: "data")
        }
        guard status.size == held.count else {
            throw ObjectStoreError(
                .integrity,
                "the upload of '\(path.name)' has \(status.size) bytes, not \(held.count)"
            )
        }
        let staged = StagedFile(
            directory: "uploads/\(upload.identifier)",
            file: "data",
            identity: FileIdentity(status),
            crc32c: CRC32C(held.crc32c)
        )
        return try publish(
            staged,
            as: path,
            ObjectAttributes(path.name, options),
            options.precondition
        ) { (attributes) throws(ObjectStoreError) in
            try upload.write(AttributesFile(attributes), "result.json")
        }
    }
}

extension ByteSegments {
    /// Without the first `count` bytes.
    fileprivate func dropping(_ count: Int) -> ByteSegments {
        var rest = ByteSegments()
        var skip = count
        for segment in segments {
            switch segment {
            case .bytes(let bytes):
                rest.append(Array(bytes.dropFirst(skip)))
                skip -= min(skip, bytes.count)
            case .lease(let lease, let range):
                let dropped = min(skip, range.count)
                rest.append(lease, range.dropFirst(dropped))
                skip -= dropped
            }
        }
        return rest
    }
}
