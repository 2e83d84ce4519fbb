package import LinuxPlatform
package import Manifests

/// Which checkpoint of a run is the one to go on from.
package struct LatestRule: Sendable {
    /// What makes one later than another.
    package enum Order: String, Sendable, CaseIterable {
        /// The step; the time where steps are equal or not known.
        case step
        /// When it was committed.
        case time
    }

    package var order: Order
    /// Also those without a record that their writer's marker calls complete.
    package var acceptsMarked: Bool
    /// Nil for any.
    package var name: CheckpointName?
    /// At least this far in training; nil for any.
    package var minimumStep: Int?

    package init(
        order: Order = .step,
        acceptsMarked: Bool = false,
        name: CheckpointName? = nil,
        minimumStep: Int? = nil
    ) {
        self.order = order
        self.acceptsMarked = acceptsMarked
        self.name = name
        self.minimumStep = minimumStep
    }

    /// Whether a checkpoint may be gone on from.
    package func accepts(_ checkpoint: Checkpoint) -> Bool {
        guard checkpoint.state == .complete || acceptsMarked && checkpoint.state == .marked else { return false }
        if let name, name != checkpoint.name { return false }
        guard let minimumStep else { return true }
        return checkpoint.step.map { $0 >= minimumStep } ?? false
    }

    /// The latest of those that are accepted; nil when there is none.
    package func choose(_ checkpoints: [Checkpoint]) -> Checkpoint? {
        checkpoints.filter(accepts).max(by: order == .step ? Checkpoint.isEarlier : Checkpoint.isOlder)
    }
}

extension CheckpointCatalog {
    /// Looks again and again until there is one.
    ///
    /// - Parameters:
    ///   - limit: how long to wait at most; nil for ever.
    ///   - interval: between two looks.
    /// - Returns: nil when the time is over. A failure that may pass is waited out, too.
    /// - Throws: what a look throws that waiting does not help; `interrupted`.
    package func wait(
        for rule: LatestRule,
        limit: Duration?,
        interval: Duration,
        time: any TimeSource
    ) async throws(CheckpointError) -> Checkpoint? {
        let end = limit.map { time.now().advanced(by: $0) } ?? .distantFuture
        while true {
            do throws(CheckpointError) {
                let found = try await read(only: rule.name.map { [$0] })
                if let chosen = rule.choose(found) { return chosen }
            } catch {
                if error.code != .retryable { throw error }
            }
            let left = time.now().duration(to: end)
            if left <= .zero { return nil }
            do throws(CancellationError) {
                try await time.sleep(for: min(left, interval))
            } catch {
                throw CheckpointError(.interrupted, "interrupted while waiting for a checkpoint of \(place)")
            }
        }
    }
}
