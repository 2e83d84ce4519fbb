import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

/// How the bytes of a checkpoint are read.
package struct ReadingOptions: Sendable {
    /// Bytes for buffers.
    package var memory: Int
    /// Files on their way at once.
    package var maximumFiles: Int
    /// When a single request is given up, its retries included.
    package var requestDeadline: Duration

    package init(memory: Int = 256 << 20, maximumFiles: Int = 8, requestDeadline: Duration = .seconds(600)) {
        self.memory = memory
        self.maximumFiles = maximumFiles
        self.requestDeadline = requestDeadline
    }
}

/// Reads the files that a record names, in the generations that it names, many ranges at once.
struct CheckpointReader: Sendable {
    /// What a request asks for: a multiple of a granule.
    static let unit = 8 << 20
    /// Ranges of one file on their way at once.
    private static let width = 16

    let store: any ObjectStore
    private let pool: BufferPool
    private let deadline: Duration
    private let time: any TimeSource

    init(_ store: any ObjectStore, _ options: ReadingOptions, time: any TimeSource) {
        self.store = store
        self.time = time
        deadline = options.requestDeadline
        pool = BufferPool(bufferSize: Self.unit, capacity: max(2, options.memory / Self.unit))
    }

    /// Where the bytes of a recorded file are: under its name, or kept aside.
    ///
    /// - Returns: nil when they are nowhere.
    static func source(
        of file: CheckpointRecord.File,
        in objects: CheckpointObjects,
        _ paths: PenstockPaths
    ) -> ObjectAttributes? {
        if let found = objects.files[file.path], found.generation == file.generation { return found }
        guard let kept = try? paths.checkpointKept(objects.name, file.path, file.generation) else { return nil }
        return objects.kept.first { $0.name == kept && $0.size == file.size }
    }

    /// Reads from `start` to the end, and gives the CRC32C of that.
    ///
    /// - Parameter deliver: gets each piece, in no order, from several tasks at once.
    func read(
        _ object: ObjectAttributes,
        from start: Int = 0,
        deliver: @escaping @Sendable (ByteRange, BufferLease) async throws(CheckpointError) -> Void = { _, _ in }
    ) async throws(CheckpointError) -> CRC32C {
        let source = store.source(object)
        let units = stride(from: start, to: object.size, by: Self.unit).map {
            ByteRange(offset: $0, count: min(Self.unit, object.size - $0))
        }
        let parts = try await mapConcurrently(units, limit: Self.width) { unit async throws(CheckpointError) in
            let buffer: BufferLease
            do throws(CancellationError) { buffer = try await pool.leaseWhenFree() } catch {
                throw CheckpointError(.interrupted, "interrupted while reading \(object.name)")
            }
            let granules = GranuleAccumulator(expecting: unit.count)
            let end = time.now().advanced(by: deadline)
            try await during("reading \(object.name)") { () async throws(ObjectStoreError) in
                try await source.read(RangeRead(unit, into: buffer, deadline: end, tap: granules.tap))
            }
            try await deliver(unit, buffer)
            return GranuleAccumulator.combined(granules.granules(), count: unit.count)
        }
        return zip(units, parts).reduce(CRC32C.empty) { whole, part in
            whole.combine(with: part.1, count: part.0.count)
        }
    }
}
