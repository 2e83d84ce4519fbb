import Checkpoints
import LinuxPlatform
import Manifests
import ObjectStorage
import Telemetry
import WriteBack

/// Records the checkpoints that a trainer has finished, when all of their files are in the bucket, and forgets those that it removes.
///
/// A directory directly below the mount is looked at when each of its files is published and none is open for writing. It is recorded
/// when its writer has said that it is done: by its marker, written in the same save, or by giving it its last name. Never since it
/// lies still. What is not recorded when the process dies is looked at by the next one with the same journal.
final class CheckpointRecorder: Sendable {
    /// A trainer writes one file after the other: less often than each time one is whole.
    private static let interval = Duration.seconds(1)
    /// After a failure.
    private static let pause = Duration.seconds(15)

    private let committer: CheckpointCommitter
    private let tree: WriteBack
    private let time: any TimeSource
    private let log: Log
    private let mayWrite: @Sendable () async throws(ObjectStoreError) -> Void
    private let work = Lock<Task<Void, Never>?>(nil)
    /// The last look, begun or over: one at a time.
    private let look = Lock<Task<Bool, Never>?>(nil)

    /// - Parameter mayWrite: asked before anything is recorded.
    init(
        _ store: any ObjectStore,
        _ prefix: ObjectPrefix,
        _ tree: WriteBack,
        time: any TimeSource,
        log: Log,
        mayWrite: @escaping @Sendable () async throws(ObjectStoreError) -> Void
    ) {
        committer = CheckpointCommitter(CheckpointCatalog(store, prefix))
        (self.tree, self.time, self.log, self.mayWrite) = (tree, time, log, mayWrite)
    }

    func start() {
        let task = Task.detached { [self] in
            while !Task.isCancelled {
                await tree.waitForNews()
                guard (try? await time.sleep(for: Self.interval)) != nil else { return }
                if await !recordAlone() { try? await time.sleep(for: Self.pause) }
            }
        }
        work.withLock { $0 = task }
    }

    /// Looks at what is whole now, once more; then no more. Call it before the tree is closed.
    func finish() async {
        work.withLock { $0 }?.cancel()
        _ = await recordAlone()
    }

    /// As `record`, after those before it. It is not cancelled with who waits for it.
    private func recordAlone() async -> Bool {
        let task = look.withLock { last in
            let before = last
            let task = Task.detached { [self] in
                _ = await before?.value
                return await record()
            }
            last = task
            return task
        }
        return await task.value
    }

    /// - Returns: false when the bucket could not be asked.
    private func record() async -> Bool {
        if (try? await mayWrite()) == nil { return false }
        var isDone = await withdraw()
        for directory in tree.takeSettledDirectories() {
            guard let name = try? CheckpointName(directory.name) else { continue }
            do throws(CheckpointError) {
                let outcome = try await committer.commitWhenDone(
                    name,
                    written: directory.written,
                    isWhole: directory.isWhole,
                    at: time.timeOfDay()
                )
                guard case .committed(let standing, let isNew) = outcome else { continue }
                if isNew { tell(standing) }
                await tree.recorded(directory)
            } catch {
                log.warn(
                    "a checkpoint is not recorded yet",
                    ["name": LogValue(directory.name), "reason": LogValue("\(error)")]
                )
                tree.giveBack(directory)
                isDone = false
            }
        }
        return isDone
    }

    /// - Returns: false when the bucket could not be asked.
    private func withdraw() async -> Bool {
        var isDone = true
        for lost in tree.lostNames() {
            do throws(CheckpointError) {
                // What cannot be the name of a checkpoint has no record.
                if let name = try? CheckpointName(lost) { try await committer.withdraw(name) }
                await tree.withdrawn(lost)
            } catch {
                log.warn(
                    "the record of a checkpoint that was removed is still there",
                    ["name": LogValue(lost), "reason": LogValue("\(error)")]
                )
                isDone = false
            }
        }
        return isDone
    }

    private func tell(_ standing: StandingRecord) {
        let record = standing.record
        log.info(
            "a checkpoint is complete",
            [
                "name": LogValue(record.name.description), "files": .integer(record.files.count),
                "bytes": .integer(record.totalSize), "step": record.step.map { .integer($0) } ?? LogValue("unknown"),
            ]
        )
    }
}
