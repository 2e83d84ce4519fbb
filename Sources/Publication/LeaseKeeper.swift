package import LinuxPlatform
package import Manifests
package import ObjectStorage

/// Who won when a lease was asked for.
package enum LeaseOutcome: Sendable {
    case held(LeaseKeeper)
    /// Another holds it. `expires` is by the server's clock; `lease` is nil when its record cannot be read.
    case busy(lease: Lease?, expires: UnixTime, now: UnixTime)
}

/// Holds the lease of a prefix: takes it, renews it in the background, says when it is lost, gives it back.
///
/// The lease is an object. Taking it creates the object; stealing an expired one replaces exactly the generation that
/// was seen; renewing patches metadata of exactly the metageneration that was seen, so its generation, which stands in
/// the names of parts, stays. Its age is by the server's clock.
package final class LeaseKeeper: Sendable {
    /// Stands in the names of everything temporary that this holder makes.
    package let generation: Generation
    package let lease: Lease

    private struct State {
        var term: LeaseTerm
        var metageneration: Int64
        var renewals = 0
        var renewing: Task<Void, Never>?
    }

    private let store: any ObjectStore
    private let name: ObjectName
    private let time: any TimeSource
    private let state: Lock<State>
    private static let renewalKey = "penstock-renewal"
    /// The time to live of a lease whose record cannot be read.
    private static let assumedSeconds = 60

    private init(
        _ store: any ObjectStore,
        _ attributes: ObjectAttributes,
        _ lease: Lease,
        sent: MonotonicInstant,
        time: any TimeSource
    ) {
        self.store = store
        self.lease = lease
        self.time = time
        name = attributes.name
        generation = attributes.generation
        let term = LeaseTerm(timeToLive: .seconds(lease.seconds), sent: sent)
        state = Lock(State(term: term, metageneration: attributes.metageneration))
    }

    /// Takes the lease of the prefix for this process if it is free or expired: as the next one, with `paths.lease`.
    package static func acquire(
        _ store: any ObjectStore,
        _ paths: PenstockPaths,
        purpose: String,
        seconds: Int,
        time: any TimeSource,
        onLost: @escaping @Sendable () -> Void
    ) async throws(PublicationError) -> LeaseOutcome {
        let name = try await during("naming the lease of \(store.label)/\(paths.prefix)") {
            () async throws(ObjectStoreError) in try paths.lease
        }
        return try await acquire(store, name, purpose: purpose, seconds: seconds, time: time, onLost: onLost)
    }

    /// Takes a lease if it is free, expired, or the owner's own.
    ///
    /// - Parameters:
    ///   - owner: what this holder calls itself.
    ///   - takesOver: a lease of the same owner is taken at once: the process that had it is known to be gone.
    ///   - purpose: for people: what this process is doing, of at most 256 bytes.
    ///   - seconds: how long it holds after each renewal, 1 s to 1 day.
    ///   - onLost: called once, from the background, when the lease was lost.
    /// - Throws: `record` when purpose or seconds are out of bounds; what the store says.
    package static func acquire(
        _ store: any ObjectStore,
        _ name: ObjectName,
        owner: OperationID = .random(),
        takesOver: Bool = false,
        purpose: String,
        seconds: Int,
        time: any TimeSource,
        onLost: @escaping @Sendable () -> Void
    ) async throws(PublicationError) -> LeaseOutcome {
        let (lease, record) = try newLease(owner, purpose, seconds, time)
        return try await during("taking the lease \(store.label)/\(name)") {
            () async throws(ObjectStoreError) -> LeaseOutcome in
            // Two rounds are enough when nobody interferes; more are somebody else's taking and releasing.
            for _ in 0..<8 {
                var precondition = WritePrecondition.absent
                if let seen = try await found(store, name) {
                    let now = try await store.serverTime()
                    let expires = expiry(of: seen.attributes, seen.lease)
                    if now < expires, !takesOver || seen.lease?.owner != owner {
                        return .busy(lease: seen.lease, expires: expires, now: now)
                    }
                    precondition = .generation(seen.attributes.generation)
                }
                let sent = time.now()
                do throws(ObjectStoreError) {
                    let options = WriteOptions(precondition, contentType: "application/json", mayBeCached: false)
                    let taken = try await store.put(name, ByteSegments(record), options)
                    let keeper = LeaseKeeper(store, taken, lease, sent: sent, time: time)
                    keeper.startRenewing(onLost: onLost)
                    return .held(keeper)
                } catch {
                    guard error.code == .preconditionFailed || error.code == .notFound else { throw error }
                }
            }
            throw ObjectStoreError(.unavailable, "\(name) changes hands faster than it can be taken; try again")
        }
    }

    private static func newLease(
        _ owner: OperationID,
        _ purpose: String,
        _ seconds: Int,
        _ time: any TimeSource
    ) throws(PublicationError) -> (lease: Lease, record: [UInt8]) {
        do throws(ManifestError) {
            let lease = try Lease(
                owner: owner,
                host: String(Host.name.prefix(200)),
                processID: Host.processID,
                purpose: purpose,
                acquired: time.timeOfDay(),
                seconds: seconds
            )
            return (lease, try lease.encoded())
        } catch {
            throw PublicationError(.record, "\(error)")
        }
    }

    private static func found(
        _ store: any ObjectStore,
        _ name: ObjectName
    ) async throws(ObjectStoreError) -> (attributes: ObjectAttributes, lease: Lease?)? {
        do throws(ObjectStoreError) {
            let (attributes, bytes) = try await store.contents(name, generation: nil, limit: 1 << 16)
            return (attributes, try? Lease(decoding: bytes))
        } catch {
            switch error.code {
            case .notFound: return nil
            case .integrity:
                // A lease that cannot be read is still a lease, until it is old.
                return (try await store.attributes(name, generation: nil), nil)
            default: throw error
            }
        }
    }

    private static func expiry(of attributes: ObjectAttributes, _ lease: Lease?) -> UnixTime {
        let renewed = attributes.updated ?? attributes.created ?? UnixTime(nanoseconds: 0)
        return renewed.advanced(by: .seconds(lease?.seconds ?? Self.assumedSeconds))
    }

    private func startRenewing(onLost: @escaping @Sendable () -> Void) {
        let task = Task.detached { [weak self] in
            while !Task.isCancelled {
                guard let keeper = self else { return }
                let (interval, time) = keeper.state.withLock { ($0.term.renewalInterval, keeper.time) }
                guard (try? await time.sleep(for: interval)) != nil else { return }
                await keeper.renew()
                if keeper.standing == .lost {
                    if !Task.isCancelled { onLost() }
                    return
                }
            }
        }
        state.withLock { $0.renewing = task }
    }

    private var standing: LeaseTerm.Standing {
        let now = time.now()
        return state.withLock { $0.term.standing(now: now) }
    }

    /// Returns when the lease is surely held for half its time to live from now.
    ///
    /// - Throws: `leaseLost`.
    package func ensureHeld() async throws(PublicationError) {
        if standing == .renewFirst { await renew() }
        guard standing == .held else {
            let message = "another process took over the lease \(name) while this one was not running; "
            throw PublicationError(.leaseLost, message + "run the same command again to follow or continue it")
        }
    }

    private func renew() async {
        let sent = time.now()
        let (metageneration, number) = state.withLock { state in
            state.renewals += 1
            return (state.metageneration, state.renewals)
        }
        do throws(ObjectStoreError) {
            let attributes = try await store.patch(
                name,
                generation,
                metageneration: metageneration,
                metadata: [Self.renewalKey: "\(number)"]
            )
            state.withLock { state in
                state.metageneration = attributes.metageneration
                state.term.renewed(sent: sent)
            }
        } catch {
            await settle(error, sent: sent)
        }
    }

    /// A refusal may be the echo of a renewal of our own whose reply was lost, or of one that ran beside this one.
    private func settle(_ error: ObjectStoreError, sent: MonotonicInstant) async {
        guard error.code == .preconditionFailed || error.code == .notFound else { return }
        guard let found = try? await store.attributes(name, generation: nil), found.generation == generation else {
            state.withLock { $0.term.refused() }
            return
        }
        state.withLock { state in
            // The generation is ours, so nobody has stolen it: whatever moved the metageneration was a renewal.
            state.metageneration = found.metageneration
            state.term.renewed(sent: sent)
        }
    }

    /// Gives the lease back. A lease that is another's by now is left alone.
    package func release() async {
        let renewing = state.withLock { state in
            defer { state.renewing = nil }
            return state.renewing
        }
        renewing?.cancel()
        await renewing?.value
        // If this fails the lease expires by itself.
        try? await store.delete(name, generation)
    }
}
