import Checksums
import LinuxPlatform
import ObjectStorage

/// What an upload shall become, as kept with it: `upload.json`.
struct UploadRecord: Codable, Sendable {
    var name: String
    var size: Int?
    /// A generation to replace, 0 for create-only, nil for whatever is there.
    var expectedGeneration: Int64?
    var contentType: String
    var storageClass: String?
    var crc32c: String?
    var metadata: [String: String]

    init(_ name: ObjectName, size: Int?, _ options: WriteOptions) {
        self.name = name.value
        self.size = size
        expectedGeneration =
            switch options.precondition {
            case .any: nil
            case .absent: 0
            case .generation(let generation): generation.value
            }
        contentType = options.contentType
        storageClass = options.storageClass
        crc32c = options.crc32c?.base64
        metadata = options.metadata
    }

    var options: WriteOptions {
        let precondition: WritePrecondition =
            switch expectedGeneration {
            case nil: .any
            case 0: .absent
            case let generation?: .generation(Generation(generation))
            }
        return WriteOptions(
            precondition,
            contentType: contentType,
            metadata: metadata,
            storageClass: storageClass,
            crc32c: crc32c.flatMap { CRC32C(base64: $0) }
        )
    }
}

/// How many bytes of an upload are on stable storage, and their CRC32C: `progress.json`.
struct ProgressRecord: Codable, Sendable {
    var count: Int
    var crc32c: UInt32
}

/// The directory of one upload, resumable or multipart, below the store's own.
struct UploadDirectory: ~Copyable {
    static let recordLimit = 64 * 1024

    let descriptor: FileDescriptor
    let identifier: String
    /// `uploads` or `multiparts`.
    let kind: String
    private let store: StoreDirectory

    private init(_ descriptor: consuming FileDescriptor, _ kind: String, _ identifier: String, _ store: StoreDirectory)
    {
        self.descriptor = descriptor
        self.kind = kind
        self.identifier = identifier
        self.store = store
    }

    /// Makes a new one under a name nobody can guess.
    static func make(
        _ kind: String,
        in store: StoreDirectory,
        _ record: UploadRecord
    ) throws(ObjectStoreError) -> UploadDirectory {
        let identifier = RandomBytes.make(16).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        let bytes = try LocalJSON.encode(record, for: record.name)
        let own = try store.madeOwnFiles()
        let made = try onDisk("begin an upload of", record.name) { () throws(Errno) in
            let folder = try own.directory.directory(kind)
            try folder.makeDirectory(identifier, mode: 0o700)
            let made = try folder.directory(identifier)
            let isDurable = store.isDurable
            try DurableFile.replace(
                "upload.json",
                bytes,
                mode: 0o600,
                relativeTo: made.rawValue,
                isSynchronized: isDurable
            )
            if isDurable { try folder.synchronize() }
            return made
        }
        return UploadDirectory(made, kind, identifier, store)
    }

    /// Opens one that is there.
    ///
    /// - Throws: `noEntry` when it is gone; an identifier that is none of ours counts as gone.
    static func open(
        _ kind: String,
        _ identifier: String,
        in store: StoreDirectory
    ) throws(Errno) -> UploadDirectory {
        guard identifier.utf8.count == 32, identifier.utf8.allSatisfy(isHexadecimal) else { throw .noEntry }
        guard let own = try? store.ownFiles() else { throw .noEntry }
        return UploadDirectory(try own.directory.directory(kind).directory(identifier), kind, identifier, store)
    }

    func record() throws(ObjectStoreError) -> UploadRecord {
        let bytes = try onDisk("read the record of", "an upload") { () throws(Errno) in
            try DurableFile.read("upload.json", limit: Self.recordLimit, relativeTo: descriptor.rawValue)
        }
        return try LocalJSON.decode(UploadRecord.self, bytes, for: "an upload")
    }

    /// A record that is missing is nil.
    func read<Value: Decodable>(_ type: Value.Type, _ file: String) throws(ObjectStoreError) -> Value? {
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try DurableFile.read(file, limit: Self.recordLimit, relativeTo: descriptor.rawValue)
        } catch {
            if error == .noEntry { return nil }
            return try onDisk("read the record of", "an upload") { () throws(Errno) in throw error }
        }
        return try LocalJSON.decode(type, bytes, for: "an upload")
    }

    func write(_ value: some Encodable, _ file: String) throws(ObjectStoreError) {
        let bytes = try LocalJSON.encode(value, for: "an upload")
        try onDisk("write the record of", "an upload") { () throws(Errno) in
            try DurableFile.replace(
                file,
                bytes,
                mode: 0o600,
                relativeTo: descriptor.rawValue,
                isSynchronized: store.isDurable
            )
        }
    }

    /// Keeps other requests of the same upload out.
    ///
    /// - Throws: `unavailable` when there is one.
    func lock(_ name: ObjectName) throws(ObjectStoreError) -> FileLock {
        do throws(Errno) {
            return try FileLock(path: "lock", relativeTo: descriptor.rawValue, patience: .zero)
        } catch {
            if error == .timedOut {
                throw ObjectStoreError(.unavailable, "another request of the upload of '\(name)' is under way")
            }
            return try onDisk("lock the upload of", name.value) { () throws(Errno) in throw error }
        }
    }

    /// Removes it with all it holds.
    consuming func remove() {
        try? DirectoryTree.remove("\(store.path)/\(LocalPath.hiddenDirectory)/\(kind)/\(identifier)")
    }
}

private func isHexadecimal(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) }
