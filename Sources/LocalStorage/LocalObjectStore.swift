import Checksums
import Glibc
package import LinuxPlatform
package import ObjectStorage

/// `file://`: an `ObjectStore` on a local directory.
///
/// Contents are plain files under their names, for any tool to read; what a bucket knows besides stands in
/// `.penstock-local` beside them, from the first change on: reading needs no permission to write. Preconditions hold between processes (one lock for the directory), a change is visible
/// at once and whole, and durable when it returns. Files that other tools put there are objects, too: their generation is
/// made up from the file and changes when it does.
///
/// What a directory cannot do, each a clear error: names with empty segments, `.` or `..`, with segments of more than
/// 255 bytes, and a name that is both a file and a directory. Symbolic links are no objects and are not followed.
/// Listings leave out the CRC32C of a foreign file that nobody has asked for yet: it costs reading the file.
package final class LocalObjectStore: ObjectStore {
    /// Files are read and written here. Shared by all stores of the process and never closed.
    private static let disk: WorkerPool? = try? WorkerPool(name: "local-disk", count: 4)
    /// Changes wait here for each other, and for the lock, without keeping the readers from the disk.
    private static let changes: WorkerPool? = try? WorkerPool(name: "local-change", count: 1)

    let directory: StoreDirectory
    private let disk: WorkerPool
    private let changes: WorkerPool

    /// - Parameters:
    ///   - path: the directory, absolute.
    ///   - createsDirectory: makes it, and those above it, when it is missing.
    ///   - isDurable: waits for stable storage with each change. Without, a power cut may cost changes, a killed process
    ///     never does.
    ///   - onStep: for tests: called at each step of a change, and makes this process "die" there when it says so.
    /// - Throws: `containerNotFound` when the directory is missing, `forbidden` when it cannot be used.
    package init(
        _ path: String,
        createsDirectory: Bool = true,
        isDurable: Bool = true,
        time: any TimeSource = SystemTime(),
        onStep: (@Sendable (LocalStep) -> Bool)? = nil
    ) throws(ObjectStoreError) {
        guard let disk = Self.disk, let changes = Self.changes else {
            throw ObjectStoreError(.internal, "cannot start the threads that read and write files")
        }
        self.disk = disk
        self.changes = changes
        directory = try StoreDirectory(
            path: path,
            createsDirectory: createsDirectory,
            isDurable: isDurable,
            time: time,
            onStep: onStep
        )
    }

    package var label: String { "file://\(directory.path)" }

    package func serverTime() async throws(ObjectStoreError) -> UnixTime { directory.time.timeOfDay() }

    package func layout() async throws(ObjectStoreError) -> StorageLayout {
        StorageLayout(isHierarchical: false, locationType: "local", location: "local", softDeleteRetentionSeconds: 0)
    }

    package func attributes(
        _ name: ObjectName,
        generation: Generation?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(name)
        return try await onDiskThread { [directory] () throws(ObjectStoreError) in
            guard let found = try directory.find(path, needsChecksum: true),
                generation == nil || generation == found.attributes.generation
            else { throw missing(name, generation) }
            return found.attributes
        }
    }

    package func source(_ attributes: ObjectAttributes) -> any RangedSource {
        LocalSource(store: directory, pool: disk, attributes: attributes)
    }

    package func contents(
        _ name: ObjectName,
        generation: Generation?,
        limit: Int
    ) async throws(ObjectStoreError) -> (attributes: ObjectAttributes, bytes: [UInt8]) {
        let attributes = try await attributes(name, generation: generation)
        guard attributes.size <= limit else {
            throw ObjectStoreError(.integrity, "'\(name)' has \(attributes.size) bytes, more than \(limit)")
        }
        let buffer = BufferLease(size: max(1, attributes.size))
        let source = source(attributes)
        do throws(ObjectStoreError) {
            try await source.read(RangeRead(ByteRange(offset: 0, count: attributes.size), into: buffer))
        } catch {
            // Without a generation the caller wants what is there now: it was replaced in between.
            guard error.code == .notFound, generation == nil else { throw error }
            return try await contents(name, generation: nil, limit: limit)
        }
        let bytes = Array(buffer.bytes[..<attributes.size])
        guard CRC32C.of(bytes) == attributes.crc32c else {
            throw ObjectStoreError(.integrity, "'\(name)': the bytes on the disk do not have its CRC32C")
        }
        return (attributes, bytes)
    }

    package func list(_ request: ListRequest) async throws(ObjectStoreError) -> ListPage {
        try await onDiskThread { [directory] () throws(ObjectStoreError) in
            let walk = TreeWalk(directory, request)
            let cut = try request.cut(walk)
            if let failure = walk.failure {
                try onDisk("list", request.prefix) { () throws(Errno) in throw failure }
            }
            var page = ListPage(prefixes: cut.prefixes, nextPageToken: cut.nextPageToken)
            for name in cut.objects {
                if let found = try directory.find(LocalPath(name)) { page.objects.append(found.attributes) }
            }
            return page
        }
    }

    package func delete(_ name: ObjectName, _ generation: Generation) async throws(ObjectStoreError) {
        let path = try LocalPath(name)
        try await onChangeThread { [directory] () throws(ObjectStoreError) in
            try directory.delete(path, generation)
        }
    }

    package func patch(
        _ name: ObjectName,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let path = try LocalPath(name)
        return try await onChangeThread { [directory] () throws(ObjectStoreError) in
            try directory.patch(path, generation, metageneration: metageneration, metadata: metadata)
        }
    }

    /// Runs blocking work on the disk's threads.
    func onDiskThread<Value: Sendable>(
        _ work: @escaping @Sendable () throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        try await Self.run(on: disk, work)
    }

    /// Runs a change on the one thread where changes wait.
    func onChangeThread<Value: Sendable>(
        _ work: @escaping @Sendable () throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        try await Self.run(on: changes, work)
    }

    private static func run<Value: Sendable>(
        on pool: WorkerPool,
        _ work: @escaping @Sendable () throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        if Task.isCancelled { throw ObjectStoreError(.cancelled, "cancelled before it began") }
        return try await pool.run { Result { () throws(ObjectStoreError) in try work() } }.get()
    }
}

// A directory's tree is made and removed with its files.
extension LocalObjectStore {
    private func noFolders() -> ObjectStoreError {
        ObjectStoreError(.unsupported, "\(label) keeps no folders of their own")
    }

    package func createFolder(_ name: String) async throws(ObjectStoreError) { throw noFolders() }

    package func deleteFolder(_ name: String) async throws(ObjectStoreError) { throw noFolders() }

    package func renameFolder(_ source: String, to name: String) async throws(ObjectStoreError) { throw noFolders() }
}
