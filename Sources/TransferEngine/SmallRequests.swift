import LinuxPlatform
package import ObjectStorage

// Requests whose replies are small and kept apart: attributes, pages of listings, records. There is no buffer that two
// writers could share, so the second request goes beside the first, and what comes first counts.

/// What a small request is for: requests of one kind take about as long.
package enum SmallRequest: CaseIterable, Sendable {
    case attributes
    case listing
    /// The bytes of a manifest or a table.
    case record
}

/// How long a small request is waited for before it is sent a second time. No clock, no locks, no I/O.
struct SmallRequestPatience: Sendable {
    private var times: [SmallRequest: DecayingQuantiles] = [:]

    /// The reply to a first request came so long after it was sent, whatever became of a second one.
    mutating func answered(_ kind: SmallRequest, after time: Duration) {
        times[kind, default: DecayingQuantiles(smallest: 1e-5)].add(time.inSeconds)
    }

    /// Twice what 99 of 100 take, and before that was learned four times as much as the first bytes of content are given, or a
    /// second where nothing is known of those either. At most the deadline of a connection that is silent.
    func patience(_ kind: SmallRequest, beside network: NetworkEstimate) -> Duration {
        if let times = times[kind], times.count >= NetworkEstimate.enough, let usual = times.quantile(0.99) {
            return max(NetworkEstimate.floor, .seconds(2 * usual))
        }
        return network.firstByteP99 == nil ? NetworkEstimate.unlearned : network.patience * 4
    }
}

extension Hedger {
    /// The outcome of a small request, or of a second one like it when the first is late: whichever has an answer first.
    ///
    /// At most two are on their way. A failure that may be over soon does not count while the other one runs.
    ///
    /// - Parameter body: one request, repeatable, with its own retries; ends soon after its task was cancelled.
    package func ask<Value: Sendable>(
        _ kind: SmallRequest,
        _ body: @escaping @Sendable () async throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        let (time, patience) = (time, patience(kind))
        let begun = time.now()
        let result = await withTaskGroup(of: SmallRequestEvent<Value>.self) { group in
            group.addTask { .ended(isSecond: false, await outcome(of: body)) }
            group.addTask { (try? await time.sleep(for: patience)) == nil ? .nothing : .late }
            var running = 1
            var hasSecond = false
            while let event = await group.next() {
                switch event {
                case .nothing: break
                case .late:
                    hasSecond = true
                    running += 1
                    askedAgain()
                    group.addTask { .ended(isSecond: true, await outcome(of: body)) }
                case .ended(let isSecond, let result):
                    running -= 1
                    if running > 0, result.isUndecided { continue }
                    group.cancelAll()
                    if !isSecond { answered(kind, after: begun.duration(to: time.now())) }
                    if hasSecond, isSecond { secondAnswered() }
                    return result
                }
            }
            preconditionFailure("a request has no outcome")
        }
        return try result.get()
    }
}

private enum SmallRequestEvent<Value: Sendable>: Sendable {
    case ended(isSecond: Bool, Result<Value, ObjectStoreError>)
    case late
    case nothing
}

private func outcome<Value: Sendable>(
    of body: @Sendable () async throws(ObjectStoreError) -> Value
) async -> Result<Value, ObjectStoreError> {
    do throws(ObjectStoreError) {
        return .success(try await body())
    } catch {
        return .failure(error)
    }
}

extension Result where Failure == ObjectStoreError {
    /// It says nothing of what another request will hear.
    fileprivate var isUndecided: Bool {
        guard case .failure(let error) = self else { return false }
        return error.isTransient || error.code == .cancelled
    }
}

extension Hedger? {
    /// `Hedger.ask`, or one request where nothing is hedged.
    package func ask<Value: Sendable>(
        _ kind: SmallRequest,
        _ body: @escaping @Sendable () async throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        guard let self else { return try await body() }
        return try await self.ask(kind, body)
    }
}
