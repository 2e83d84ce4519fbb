package import LinuxPlatform
package import Manifests
package import ObjectStorage
package import Telemetry

// Which mount may write below a prefix.
//
//     sought -> held      the lease was free, expired, or left by an earlier process of the same staging directory
//     sought -> refused   its holder renewed it while we waited: it lives (only of `take`)
//     held   -> sought    it was lost: the process was frozen, or the bucket out of reach, for longer than it holds
//     any    -> released  the mount has ended
//
// Invariants: nothing is written under a name of the prefix but while it is held for half its time to come; what was lost is
// sought without the right of the same owner, so that two copies of one staging directory do not take it from each other in turn.

/// The right of a mount to be the only one that writes below a prefix. Others find out who has it from the object.
///
/// It keeps honest mounts apart. That no object is replaced unseen, whoever writes, is what preconditions are for.
package final class WriterLease: Sendable {
    /// How long it holds after a renewal; renewed four times in that time.
    package static let seconds = 60
    /// How often somebody who waits looks.
    private static let interval = Duration.seconds(2)

    private enum State {
        case sought
        /// By which of its attempts, too: one that was lost has no say any more.
        case held(LeaseKeeper, attempt: Int)
        case released
    }

    private let store: any ObjectStore
    private let name: ObjectName
    private let owner: OperationID
    private let purpose: String
    private let time: any TimeSource
    private let log: Log
    private let state = Lock(State.sought)
    private let attempts = Lock(0)

    /// - Parameters:
    ///   - owner: of the staging directory: the next process with the same one goes on at once.
    ///   - purpose: for people, of at most 256 bytes.
    package init(
        _ store: any ObjectStore,
        _ name: ObjectName,
        owner: OperationID,
        purpose: String,
        time: any TimeSource,
        log: Log
    ) {
        (self.store, self.name, self.owner, self.purpose) = (store, name, owner, purpose)
        (self.time, self.log) = (time, log)
    }

    /// Asks for it once.
    ///
    /// - Returns: false when another mount has it, or had it when it died.
    /// - Throws: what the store says.
    package func takeAtOnce() async throws(PublicationError) -> Bool {
        if case .held = try await acquire(isOwn: true) { true } else { false }
    }

    /// Returns when it is held. Waits for a holder that may be dead, a minute at most, and for one that lives until that shows: a
    /// quarter of that.
    ///
    /// - Throws: `busy` when another mount has it and lives; what the store says.
    package func take() async throws(PublicationError) {
        var first: UnixTime?
        while true {
            guard case .busy(let lease, let expires, let now) = try await acquire(isOwn: true) else { return }
            let holder = Self.describe(lease)
            guard let seen = first else {
                first = expires
                log.info(
                    "another mount writes below the prefix, or has died: waiting until that shows",
                    [
                        "holder": LogValue(holder),
                        "seconds": .integer(Int(now.duration(to: expires).components.seconds)),
                    ]
                )
                await pause()
                continue
            }
            if expires > seen {
                throw PublicationError(
                    .busy,
                    "\(store.label)/\(name) says that \(holder) is mounted for writing; end that mount, or use --writers many "
                        + "on each of them"
                )
            }
            await pause()
        }
    }

    private func pause() async { try? await time.sleep(for: Self.interval) }

    private static func describe(_ lease: Lease?) -> String {
        lease.map { "\($0.purpose) on \($0.host) (process \($0.processID))" } ?? "a mount whose record cannot be read"
    }

    /// Takes it in the background, however long that takes.
    package func pursue() { pursue(isOwn: true) }

    private func pursue(isOwn: Bool) {
        Task.detached { [weak self] in
            var isFirst = true
            while let lease = self, !lease.isReleased {
                do throws(PublicationError) {
                    guard case .busy(let other, _, _) = try await lease.acquire(isOwn: isOwn && isFirst) else { return }
                    if isFirst {
                        lease.log.warn(
                            "another mount writes below the prefix; this one writes nothing until it ends",
                            ["holder": LogValue(Self.describe(other))]
                        )
                    }
                } catch {
                    if isFirst {
                        lease.log.warn("cannot take the writer's lease yet", ["reason": LogValue("\(error)")])
                    }
                }
                isFirst = false
                await lease.pause()
            }
        }
    }

    private var isReleased: Bool { state.withLock { if case .released = $0 { true } else { false } } }

    private func acquire(isOwn: Bool) async throws(PublicationError) -> LeaseOutcome {
        let attempt = attempts.withLock { attempts in
            attempts += 1
            return attempts
        }
        let outcome = try await LeaseKeeper.acquire(
            store,
            name,
            owner: owner,
            takesOver: isOwn,
            purpose: purpose,
            seconds: Self.seconds,
            time: time,
            onLost: { [weak self] in self?.lost(attempt) }
        )
        guard case .held(let keeper) = outcome else { return outcome }
        let isWanted = state.withLock { state in
            guard case .sought = state else { return false }
            state = .held(keeper, attempt: attempt)
            return true
        }
        // The mount has ended meanwhile.
        if !isWanted { await keeper.release() }
        return outcome
    }

    private func lost(_ attempt: Int) {
        let wasHeld = state.withLock { state in
            guard case .held(_, attempt) = state else { return false }
            state = .sought
            return true
        }
        guard wasHeld else { return }
        log.warn("the writer's lease is lost: nothing is written until it is held again", [:])
        pursue(isOwn: false)
    }

    /// Returns when it is surely held for half its time to live from now.
    ///
    /// - Throws: `unavailable`: a writer tries again later.
    package func ensureHeld() async throws(ObjectStoreError) {
        guard case .held(let keeper, let attempt) = state.withLock({ $0 }) else {
            throw ObjectStoreError(.unavailable, "another mount may write below '\(name)': waiting for its lease")
        }
        do throws(PublicationError) { try await keeper.ensureHeld() } catch {
            lost(attempt)
            throw ObjectStoreError(.unavailable, error.message)
        }
    }

    /// Gives it back.
    package func release() async {
        let old = state.withLock { state in
            defer { state = .released }
            return state
        }
        if case .held(let keeper, _) = old { await keeper.release() }
    }
}
