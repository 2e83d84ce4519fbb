import LinuxPlatform
package import ObjectStorage

/// What waits, and why: for people, and for a daemon that ends.
package struct WriteBackStatus: Sendable {
    /// A file whose content is not in the bucket yet.
    package struct Waiting: Sendable {
        /// Where it stands in the mount; nil when it has no name any more.
        package var path: String?
        package var size: Int
        /// How long it has not been as the bucket has it.
        package var age: Duration
        /// Bytes of it that are in the bucket as parts.
        package var stored: Int
        /// Why it does not get on.
        package var failure: ObjectStoreError?
        /// The machine died before it was safe: it waits until somebody writes it.
        package var isTorn: Bool
        /// A handle may still write.
        package var isOpen: Bool
    }

    /// The oldest first.
    package var waiting: [Waiting]
    /// Bytes that were sent and not acknowledged.
    package var unacknowledged: Int
    /// Bytes of the local disk that written files take.
    package var staged: Int
    package var stagingLimit: Int
    /// Writers that wait for room.
    package var writers: Int
    /// Paths whose content was given another name because others had written theirs.
    package var conflicts: [String]
    /// How many files had no, or not all, bytes on the disk at the start.
    package var damaged: Int
    /// What the bucket refused last.
    package var lastError: ObjectStoreError?
    /// The bucket is as the mount shows it.
    package var isSettled: Bool
}

extension WriteBack {
    /// How things stand.
    package var status: WriteBackStatus {
        let now = time.now()
        return core.withLock { core in
            let state = core.engine.state
            let waiting = state.staged.keys.filter { !state.names.isCurrent($0) }
                .sorted { (core.since[$0] ?? now, $0) < (core.since[$1] ?? now, $1) }
            return WriteBackStatus(
                waiting: waiting.map { node in
                    WriteBackStatus.Waiting(
                        path: state.names.tree.path(node)?.value,
                        size: state.size(node) ?? 0,
                        age: core.since[node]?.duration(to: now) ?? .zero,
                        stored: core.engine.uploads[node]?.stored.values.reduce(0) { $0 + $1.size } ?? 0,
                        failure: core.engine.failures[node],
                        isTorn: state.files[node]?.isTorn ?? false,
                        isOpen: state.files[node]?.writers ?? 0 > 0
                    )
                },
                unacknowledged: core.engine.unacknowledged,
                staged: core.budget.used,
                stagingLimit: core.budget.limit,
                writers: core.budget.waiters,
                conflicts: state.names.conflicts.compactMap { state.names.tree.path($0)?.value },
                damaged: core.damaged,
                lastError: core.lastError,
                isSettled: core.engine.isSettled
            )
        }
    }

    /// Puts everything that was closed into the bucket, graces or not, and waits until that is done.
    ///
    /// - Returns: how things stand then, or when the deadline has come; what is left goes on at the next start.
    package func drain(within limit: Duration) async -> WriteBackStatus {
        let isOver = Lock<CheckedContinuation<Void, Never>?>(nil)
        @Sendable func end() {
            let waiter = isOver.withLock { waiter in
                defer { waiter = nil }
                return waiter
            }
            waiter?.resume()
        }
        var alarm: Task<Void, Never>?
        await withCheckedContinuation { continuation in
            isOver.withLock { $0 = continuation }
            // Not before: an alarm that finds nobody never rings again.
            alarm = Task { [time] in
                try? await time.sleep(for: limit)
                end()
            }
            update { $0.engine.drain() }
            ask { core in
                guard core.engine.isSettled else { return nil }
                return { end() }
            }
        }
        alarm?.cancel()
        return status
    }
}
