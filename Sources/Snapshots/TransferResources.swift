import Checksums
package import LinuxPlatform
package import Manifests
package import ObjectStorage
package import TransferEngine

/// What the files of one conveyance share: the destination, the memory, the threads, the limit on requests.
package struct TransferResources: Sendable {
    package let store: any ObjectStore
    package let paths: PenstockPaths
    /// Of the bucket; nil when we may not know it.
    package let layout: StorageLayout?
    /// Stands in the names of temporary objects.
    package let lease: Generation
    package let pool: BufferPool
    package let gate: ConcurrencyGate
    package let workers: WorkerPool
    package let time: any TimeSource
    package let options: ConveyorOptions
    package let observer: ConveyanceObserver

    package init(
        store: any ObjectStore,
        paths: PenstockPaths,
        layout: StorageLayout? = nil,
        lease: Generation,
        budget: TransferBudget,
        workers: WorkerPool,
        time: any TimeSource,
        options: ConveyorOptions,
        observer: @escaping ConveyanceObserver
    ) {
        self.store = store
        self.paths = paths
        self.layout = layout
        self.lease = lease
        self.workers = workers
        self.time = time
        self.options = options
        self.observer = observer
        pool = BufferPool(bufferSize: budget.bufferSize, capacity: budget.bufferCount)
        // Where there are few buffers, half of them fetch at first while the others are hashed and stored: all at once
        // fetch, then all at once store, and what was received has left the processor's cache by then.
        let control = AdaptiveConcurrency(
            initial: min(8, budget.bufferCount / 2),
            maximum: budget.bufferCount,
            now: time.now()
        )
        let gate = ConcurrencyGate(control, time: time)
        self.gate = gate
        options.throttle.listen { gate.throttled() }
    }

    func leaseBuffer(for file: String) async throws(SnapshotError) -> BufferLease {
        do throws(CancellationError) {
            return try await pool.leaseWhenFree()
        } catch {
            throw SnapshotError.interrupted(file)
        }
    }

    /// Reads a range and gives its granule CRCs.
    func read(
        _ source: any RangedSource,
        _ range: ByteRange,
        into buffer: BufferLease,
        of file: String
    ) async throws(SnapshotError) -> [CRC32C] {
        let granules = GranuleAccumulator(expecting: range.count)
        let deadline = time.now().advanced(by: options.requestDeadline)
        do throws(ObjectStoreError) {
            try await gate.run(bytes: range.count, cancelled: ObjectStoreError(.cancelled, "cancelled")) {
                () async throws(ObjectStoreError) in
                try await source.read(RangeRead(range, into: buffer, deadline: deadline, tap: granules.tap))
            }
        } catch {
            if error.code == .rateLimited { gate.throttled() }
            throw SnapshotError(error, while: "reading \(file)")
        }
        return granules.granules()
    }
}

extension SnapshotError {
    static func interrupted(_ what: String) -> SnapshotError {
        SnapshotError(.interrupted, "interrupted while conveying \(what)", isResumable: true)
    }
}
