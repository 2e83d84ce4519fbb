package import Checksums
import Glibc
package import LinuxPlatform
package import ObjectStorage

// A multipart upload is a directory: `upload.json`, and a file for each part whose name is its number and its etag.
extension LocalObjectStore {
    /// What each part but the last must have, as on Cloud Storage.
    private static let minimumPartSize = 5 * 1024 * 1024

    package func beginMultipart(
        _ name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> MultipartUpload {
        _ = try LocalPath(name)
        try WriteOptions.check(metadata: options.metadata)
        return try await onDiskThread { [directory] () throws(ObjectStoreError) in
            let record = UploadRecord(name, size: nil, options)
            let upload = try UploadDirectory.make("multiparts", in: directory, record)
            return MultipartUpload(name: name, uploadID: upload.identifier)
        }
    }

    package func putPart(
        _ upload: MultipartUpload,
        number: Int,
        _ body: ByteSegments,
        crc32c: CRC32C
    ) async throws(ObjectStoreError) -> MultipartPart {
        guard (1...10_000).contains(number) else {
            throw ObjectStoreError(.invalidRequest, "part number \(number) is not 1 to 10,000")
        }
        return try await onDiskThread { [directory] () throws(ObjectStoreError) in
            let target = try directory.multipart(upload)
            let staged = try directory.stage(upload.name) { (file) throws(ObjectStoreError) in
                let received = try write(body, to: file, at: 0, after: .empty, upload.name)
                guard received == crc32c else {
                    throw ObjectStoreError(
                        .integrity,
                        "part \(number) of '\(upload.name)' arrived with CRC32C \(received), not \(crc32c)"
                    )
                }
                return received
            }
            let part = PartFile(number: number, crc32c: crc32c, size: body.count)
            do throws(ObjectStoreError) {
                try directory.keep(staged, as: part, in: target, upload.name)
            } catch {
                directory.discard(staged)
                throw error
            }
            return part.part
        }
    }

    package func parts(_ upload: MultipartUpload) async throws(ObjectStoreError) -> [MultipartPart] {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            try directory.parts(of: try directory.multipart(upload), upload.name).map(\.part)
        }
    }

    package func multipartUploads(prefix: String) async throws(ObjectStoreError) -> [MultipartUpload] {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            guard let own = try directory.ownFiles() else { return [] }
            let entries = try onDisk("list the uploads of", directory.path) { () throws(Errno) in
                try own.directory.directory("multiparts").entries()
            }
            var uploads: [MultipartUpload] = []
            for entry in entries {
                // One that went while we looked, or that was killed before it had a record.
                guard let upload = try? UploadDirectory.open("multiparts", entry.name, in: directory),
                    let record = try? upload.record(), record.name.utf8.starts(with: prefix.utf8),
                    let name = try? ObjectName(record.name)
                else { continue }
                uploads.append(MultipartUpload(name: name, uploadID: entry.name))
            }
            return uploads.sorted { ($0.name, $0.uploadID) < ($1.name, $1.uploadID) }
        }
    }

    package func completeMultipart(
        _ upload: MultipartUpload,
        _ parts: [MultipartPart]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(upload.name)
        guard !parts.isEmpty, zip(parts, parts.dropFirst()).allSatisfy({ $0.number < $1.number }) else {
            throw ObjectStoreError(.invalidRequest, "the parts of '\(upload.name)' are not in order")
        }
        if let small = parts.dropLast().first(where: { $0.size < Self.minimumPartSize }) {
            throw ObjectStoreError(.invalidRequest, "part \(small.number) of '\(upload.name)' is smaller than 5 MiB")
        }
        let (staged, options) = try await onDiskThread { [directory] () throws(ObjectStoreError) in
            let source = try directory.multipart(upload)
            let options = try source.record().options
            return (try directory.join(parts, of: source, upload.name, options), options)
        }
        // The XML API knows no preconditions here: whatever is there is replaced.
        let attributes = try await publish(staged, as: path, ObjectAttributes(upload.name, options), .any)
        try await abortMultipart(upload)
        return attributes
    }

    package func abortMultipart(_ upload: MultipartUpload) async throws(ObjectStoreError) {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            do throws(ObjectStoreError) {
                try directory.multipart(upload).remove()
            } catch {
                if error.code != .notFound { throw error }
            }
        }
    }
}

/// A part, as its file's name says it: number, CRC32C, length, and when it came (parts put later win).
private struct PartFile {
    let number: Int
    let crc32c: CRC32C
    let size: Int
    let file: String

    init(number: Int, crc32c: CRC32C, size: Int) {
        self.number = number
        self.crc32c = crc32c
        self.size = size
        file = "\(number).\(crc32c).\(size).\(String(RandomBytes.number(), radix: 36))"
    }

    init?(file: String) {
        let words = file.split(separator: ".")
        guard words.count == 4, let number = Int(words[0]), let crc32c = UInt32(words[1], radix: 16),
            let size = Int(words[2])
        else { return nil }
        self.number = number
        self.crc32c = CRC32C(crc32c)
        self.size = size
        self.file = file
    }

    var part: MultipartPart { MultipartPart(number: number, size: size, etag: "\"\(file)\"") }
}

extension StoreDirectory {
    fileprivate func multipart(_ upload: MultipartUpload) throws(ObjectStoreError) -> UploadDirectory {
        do throws(Errno) {
            return try UploadDirectory.open("multiparts", upload.uploadID, in: self)
        } catch {
            throw ObjectStoreError(.notFound, "there is no such multipart upload of '\(upload.name)'")
        }
    }

    /// Moves a staged file into the upload, then removes the part of the same number that it replaces.
    fileprivate func keep(
        _ staged: StagedFile,
        as part: PartFile,
        in upload: borrowing UploadDirectory,
        _ name: ObjectName
    ) throws(ObjectStoreError) {
        let own = try madeOwnFiles()
        try onDisk("keep a part of", name.value) { () throws(Errno) in
            try own.temporary.rename(staged.file, to: upload.descriptor, part.file)
            if isDurable { try upload.descriptor.synchronize() }
        }
        for other in try parts(of: upload, name, all: true) where other.number == part.number && other.file != part.file
        {
            try? upload.descriptor.unlink(other.file)
        }
    }

    /// In order of their numbers.
    ///
    /// - Parameter all: also those that a later part replaces, left by a request that was killed.
    fileprivate func parts(
        of upload: borrowing UploadDirectory,
        _ name: ObjectName,
        all: Bool = false
    ) throws(ObjectStoreError) -> [PartFile] {
        let entries = try onDisk("list the parts of", name.value) { () throws(Errno) in
            try upload.descriptor.entries()
        }
        let parts = entries.compactMap { PartFile(file: $0.name) }.sorted {
            ($0.number, $0.file) < ($1.number, $1.file)
        }
        if all { return parts }
        var newest: [Int: (part: PartFile, modified: UnixTime)] = [:]
        for part in parts {
            guard let status = try? upload.descriptor.status(of: part.file) else { continue }
            if let other = newest[part.number], other.modified > status.modified { continue }
            newest[part.number] = (part, status.modified)
        }
        return newest.values.map(\.part).sorted { $0.number < $1.number }
    }

    /// A staged file of all the parts; their CRC32Cs are combined, not computed again.
    fileprivate func join(
        _ parts: [MultipartPart],
        of upload: borrowing UploadDirectory,
        _ name: ObjectName,
        _ options: WriteOptions
    ) throws(ObjectStoreError) -> StagedFile {
        let known = Dictionary(try self.parts(of: upload, name).map { ($0.number, $0) }) { $1 }
        return try stage(name) { (file) throws(ObjectStoreError) in
            var (crc32c, size) = (CRC32C.empty, 0)
            for part in parts {
                guard let found = known[part.number], found.part == part else {
                    throw ObjectStoreError(
                        .invalidRequest,
                        "part \(part.number) of '\(name)' is not the one that is there: put it again"
                    )
                }
                try onDisk("join the parts of", name.value) { () throws(Errno) in
                    let source = try FileDescriptor(
                        path: found.file,
                        flags: O_RDONLY,
                        relativeTo: upload.descriptor.rawValue
                    )
                    try file.copy(from: source, count: found.size, to: size)
                }
                crc32c = crc32c.combine(with: found.crc32c, count: found.size)
                size += found.size
            }
            try options.check(name, received: crc32c)
            return crc32c
        }
    }
}
