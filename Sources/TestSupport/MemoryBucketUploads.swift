import Checksums
import LinuxPlatform
import ObjectStorage

// Uploads of several requests: resumable sessions and multipart uploads. Nothing is visible before the end.
extension MemoryBucketState {
    mutating func beginUpload(
        _ name: ObjectName,
        size: Int?,
        _ options: WriteOptions
    ) throws(ObjectStoreError) -> UploadSession {
        try WriteOptions.check(metadata: options.metadata)
        try options.precondition.check(name, current: objects[name]?.attributes.generation)
        let identifier = "memory-session-\(nextNumber())"
        sessions[identifier] = Session(name: name, size: size, options: options)
        return UploadSession(secretURI: identifier, name: name)
    }

    private func session(_ upload: UploadSession) throws(ObjectStoreError) -> Session {
        guard let session = sessions[upload.secretURI] else {
            throw ObjectStoreError(
                .sessionLost,
                "the upload session of '\(upload.name)' is gone: upload again from the start",
                status: 410
            )
        }
        return session
    }

    func uploadProgress(_ upload: UploadSession) throws(ObjectStoreError) -> UploadProgress {
        let session = try session(upload)
        return session.finished.map { .finished($0) } ?? .persisted(session.bytes.count)
    }

    mutating func continueUpload(
        _ upload: UploadSession,
        _ body: [UInt8],
        at offset: Int,
        isLast: Bool,
        keepingOnly limit: Int?,
        at now: UnixTime
    ) throws(ObjectStoreError) -> UploadProgress {
        var session = try session(upload)
        if let finished = session.finished { return .finished(finished) }
        guard offset <= session.bytes.count else {
            throw ObjectStoreError(
                .unavailable,
                "'\(upload.name)': bytes from \(offset) where \(session.bytes.count) was next",
                status: 503
            )
        }
        guard isLast || body.count % options.uploadGranularity == 0 else {
            throw ObjectStoreError(
                .invalidRequest,
                "'\(upload.name)': a piece of \(body.count) bytes is no multiple of 256 KiB",
                status: 400
            )
        }
        if isLast, let size = session.size, size != offset + body.count {
            throw ObjectStoreError(
                .invalidRequest,
                "'\(upload.name)': \(offset + body.count) bytes where \(size) were promised",
                status: 400
            )
        }
        let beforeCount = session.bytes.count
        // Bytes that the store has already are not looked at again.
        var news = body.dropFirst(session.bytes.count - offset)
        if let limit { news = news.prefix(limit / options.uploadGranularity * options.uploadGranularity) }
        session.bytes += news
        receivedBytes += news.count
        repeatedBytes += max(0, beforeCount - offset)
        sessions[upload.secretURI] = session
        guard isLast, session.bytes.count == offset + body.count else { return .persisted(session.bytes.count) }
        return .finished(try finish(upload, session, at: now))
    }

    /// Makes the object; a session that cannot is over.
    private mutating func finish(
        _ upload: UploadSession,
        _ session: Session,
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        sessions[upload.secretURI] = nil
        let attributes = try write(session.name, session.bytes, session.options, at: now)
        sessions[upload.secretURI] = Session(
            name: session.name,
            size: session.size,
            options: session.options,
            finished: attributes
        )
        return attributes
    }

    mutating func beginMultipart(
        _ name: ObjectName,
        _ options: WriteOptions
    ) throws(ObjectStoreError) -> MultipartUpload {
        try WriteOptions.check(metadata: options.metadata)
        let identifier = "memory-upload-\(nextNumber())"
        multiparts[identifier] = Multipart(name: name, options: options)
        return MultipartUpload(name: name, uploadID: identifier)
    }

    private func multipart(_ upload: MultipartUpload) throws(ObjectStoreError) -> Multipart {
        guard let multipart = multiparts[upload.uploadID], multipart.name == upload.name else {
            throw ObjectStoreError(.notFound, "there is no such multipart upload of '\(upload.name)'", status: 404)
        }
        return multipart
    }

    mutating func putPart(
        _ upload: MultipartUpload,
        number: Int,
        _ bytes: [UInt8],
        crc32c: CRC32C
    ) throws(ObjectStoreError) -> MultipartPart {
        var multipart = try multipart(upload)
        guard (1...10_000).contains(number) else {
            throw ObjectStoreError(.invalidRequest, "part number \(number) is not 1 to 10,000", status: 400)
        }
        guard CRC32C.of(bytes) == crc32c else {
            throw ObjectStoreError(
                .integrity,
                "part \(number) of '\(upload.name)' arrived with another CRC32C",
                status: 400
            )
        }
        let part = Part(bytes: bytes, etag: "\"\(crc32c)-\(nextNumber())\"")
        multipart.parts[number] = part
        multiparts[upload.uploadID] = multipart
        return MultipartPart(number: number, size: bytes.count, etag: part.etag)
    }

    func parts(_ upload: MultipartUpload) throws(ObjectStoreError) -> [MultipartPart] {
        try multipart(upload).parts.sorted { $0.key < $1.key }
            .map { MultipartPart(number: $0.key, size: $0.value.bytes.count, etag: $0.value.etag) }
    }

    func multipartUploads(prefix: String) -> [MultipartUpload] {
        multiparts.filter { $0.value.name.value.utf8.starts(with: prefix.utf8) }
            .map { MultipartUpload(name: $0.value.name, uploadID: $0.key) }
            .sorted { ($0.name, $0.uploadID) < ($1.name, $1.uploadID) }
    }

    mutating func completeMultipart(
        _ upload: MultipartUpload,
        _ parts: [MultipartPart],
        at now: UnixTime
    ) throws(ObjectStoreError) -> ObjectAttributes {
        let multipart = try multipart(upload)
        guard !parts.isEmpty, zip(parts, parts.dropFirst()).allSatisfy({ $0.number < $1.number }) else {
            throw ObjectStoreError(.invalidRequest, "the parts of '\(upload.name)' are not in order", status: 400)
        }
        var bytes: [UInt8] = []
        for part in parts {
            guard let known = multipart.parts[part.number], known.etag == part.etag else {
                throw ObjectStoreError(
                    .invalidRequest,
                    "part \(part.number) of '\(upload.name)' is not the one that is there",
                    status: 400
                )
            }
            if part.number != parts[parts.count - 1].number, known.bytes.count < options.minimumPartSize {
                throw ObjectStoreError(
                    .invalidRequest,
                    "part \(part.number) of '\(upload.name)' is too small",
                    status: 400
                )
            }
            bytes += known.bytes
        }
        // The XML API knows no preconditions here: whatever is there is replaced.
        var options = multipart.options
        options.precondition = .any
        let attributes = try write(multipart.name, bytes, options, at: now)
        multiparts[upload.uploadID] = nil
        return attributes
    }
}

// Folders, of hierarchical buckets only.
extension MemoryBucketState {
    func requireFolders() throws(ObjectStoreError) {
        if !options.isHierarchical {
            throw ObjectStoreError(.unsupported, "this bucket has no hierarchical namespace", status: 409)
        }
    }

    mutating func addParents(of name: String) {
        var path = ""
        for segment in name.split(separator: "/", omittingEmptySubsequences: false).dropLast() {
            path += "\(segment)/"
            folders.insert(path)
        }
    }

    mutating func createFolder(_ name: String) throws(ObjectStoreError) {
        try requireFolders()
        addParents(of: ObjectPrefix(name).value)
    }

    mutating func deleteFolder(_ name: String) throws(ObjectStoreError) {
        try requireFolders()
        let folder = ObjectPrefix(name).value
        guard folders.contains(folder) else {
            throw ObjectStoreError(.notFound, "there is no folder '\(folder)'", status: 404)
        }
        let isUsed =
            folders.contains { $0 != folder && $0.hasPrefix(folder) }
            || objects.keys.contains { $0.value.hasPrefix(folder) }
        if isUsed { throw ObjectStoreError(.preconditionFailed, "the folder '\(folder)' is not empty", status: 409) }
        folders.remove(folder)
    }

    mutating func renameFolder(_ source: String, to name: String) throws(ObjectStoreError) {
        try requireFolders()
        let (old, new) = (ObjectPrefix(source).value, ObjectPrefix(name).value)
        guard folders.contains(old) else {
            throw ObjectStoreError(.notFound, "there is no folder '\(old)'", status: 404)
        }
        if folders.contains(new) || new.hasPrefix(old) {
            throw ObjectStoreError(.preconditionFailed, "'\(old)' cannot be renamed to '\(new)'", status: 409)
        }
        // Names are checked before anything moves.
        var moved: [(old: ObjectName, new: ObjectName)] = []
        for object in objects.keys where object.value.hasPrefix(old) {
            moved.append((object, try ObjectName(new + object.value.dropFirst(old.count))))
        }
        for (oldName, newName) in moved {
            guard var object = objects.removeValue(forKey: oldName) else { continue }
            object.attributes.name = newName
            // Nobody promises that it stays.
            object.attributes.generation = Generation(nextNumber())
            objects[newName] = object
        }
        folders = Set(folders.map { $0.hasPrefix(old) ? new + $0.dropFirst(old.count) : $0 })
        addParents(of: new)
    }
}
