package import ObjectStorage
package import TransferEngine

/// What happens during a conveyance, for progress bars, logs and tests.
package enum ConveyanceEvent: Sendable {
    case planned(PlanSummary)
    /// Another process conveys the same prefix; it is waited for.
    case following(holder: String)
    case fileStarted(SafePath, bytes: Int)
    /// These bytes were left by an earlier run and need not be fetched.
    case resumed(SafePath, bytes: Int)
    /// Bytes that arrived from the source.
    case fetched(Int)
    /// Bytes that were read back from the bucket, to prove or to go on.
    case readBack(Int)
    /// Bytes that the bucket acknowledged.
    case stored(Int)
    case fileStaged(SafePath, bytes: Int)
    /// A file's bytes were wrong; it is fetched once more.
    case fetchedAgain(SafePath, reason: String)
    /// Bytes of a file in the bucket came wrong and, read again, right: they were damaged on the way.
    case misread(SafePath, reason: String)
    case publishing(files: Int)
    case published
}

/// Hears events from any thread; must not block.
package typealias ConveyanceObserver = @Sendable (ConveyanceEvent) -> Void

/// How a conveyance goes about it; nothing of this changes what the snapshot will be.
package struct ConveyorOptions: Sendable {
    /// Bytes for buffers.
    package var memory: Int
    /// Files on their way at once.
    package var maximumFiles: Int
    /// Replace what strangers put under our names.
    package var overwrite: Bool
    /// Files that are proven anew, or replaced, whatever the manifest says of them: a repair.
    package var distrusted: Set<SafePath>
    /// Go on without a manifest that cannot be read, proving every file anew.
    package var rebuildManifest: Bool
    /// Delete what the old manifest named and the new one does not.
    package var prune: Bool
    /// How long a replaced version stays readable for mounts that still use it.
    package var keepReplaced: Duration
    /// Time to live of the lease, in seconds.
    package var leaseSeconds: Int
    /// Bytes between two saved hash states: what a resumed run reads back at most.
    package var markInterval: Int
    /// When a single request to the source or the bucket is given up, its retries included.
    package var requestDeadline: Duration
    /// Says that a server asked to slow down: the limit on concurrent requests falls.
    package var throttle = ThrottleSignal()

    package init(
        memory: Int = 512 << 20,
        maximumFiles: Int = 8,
        overwrite: Bool = false,
        distrusted: Set<SafePath> = [],
        rebuildManifest: Bool = false,
        prune: Bool = false,
        keepReplaced: Duration = .seconds(86_400),
        leaseSeconds: Int = 60,
        markInterval: Int = 512 << 20,
        requestDeadline: Duration = .seconds(600)
    ) {
        self.memory = memory
        self.maximumFiles = maximumFiles
        self.overwrite = overwrite
        self.distrusted = distrusted
        self.rebuildManifest = rebuildManifest
        self.prune = prune
        self.keepReplaced = keepReplaced
        self.leaseSeconds = leaseSeconds
        self.markInterval = markInterval
        self.requestDeadline = requestDeadline
    }
}
