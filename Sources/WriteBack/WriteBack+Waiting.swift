import LinuxPlatform
import ObjectStorage

// Calls that wait: for room on the disk, and until the bucket has what was written. A deadline and a signal end both.
extension WriteBack {
    // MARK: Room

    /// Takes room for a write, or has it wait for some.
    ///
    /// - Parameter waiter: makes what is called when the wait is over, once: with nil when there is room, which is counted then,
    ///   else with why there is none. Asked for only where there is something to wait for.
    func requestRoom(
        _ room: Int,
        _ request: TreeRequest,
        _ waiter: () -> @Sendable (Errno?) -> Void
    ) -> StagingBudget.Answer {
        // Read outside of the lock: it asks the kernel.
        let space = room > 0 ? space() : nil
        let answer = core.withLock { core -> StagingBudget.Answer in
            if let space {
                let most = core.budget.used + max(0, space.available - options.journalReserve)
                _ = core.budget.resize(to: max(core.budget.used, min(options.stagingLimit, most)))
            }
            let answer = take(room, &core.budget)
            guard case .wait(let ticket) = answer else { return answer }
            // Under the lock that the ticket was drawn under: whoever makes room finds who waits for it.
            let body = waiter()
            core.writers[ticket] = { [self] error in
                self.core.withLock { $0.calls.end(request.number) }
                body(error)
            }
            core.calls.queue(request.number, ticket)
            return answer
        }
        guard case .wait(let ticket) = answer else { return answer }
        // A mount that has just ended makes no room any more.
        if isClosed { giveUp(ticket, .inputOutput) }
        after(options.roomDeadline) { [self] in giveUp(ticket, .noSpace) }
        return answer
    }

    private func take(_ room: Int, _ budget: inout StagingBudget) -> StagingBudget.Answer {
        if room == 0 { return .admitted }
        let answer = budget.request(room)
        guard answer == .never, room <= options.stagingLimit else { return answer }
        // Room that others may make is worth waiting for, also where the disk has little.
        _ = budget.resize(to: max(budget.limit, room))
        return budget.request(room)
    }

    /// A writer has waited long enough; nothing when it does not wait any more.
    private func giveUp(_ ticket: StagingBudget.Ticket, _ error: Errno) {
        let calls = core.withLock { core -> [(Errno?, @Sendable (Errno?) -> Void)] in
            guard let others = core.budget.giveUp(ticket) else { return [] }
            var calls = others.compactMap { ticket in core.writers.removeValue(forKey: ticket).map { (Errno?.none, $0) }
            }
            if let own = core.writers.removeValue(forKey: ticket) { calls.append((error, own)) }
            return calls
        }
        for (error, call) in calls { call(error) }
    }

    // MARK: The bucket

    /// A completion for a call that may wait for the bucket once the disk has answered: a signal that comes before that counts.
    func waiting<Value>(
        _ request: TreeRequest,
        _ completion: @escaping Completion<Value>
    ) -> Completion<Value> {
        core.withLock { $0.calls.begin(request.number) }
        return { [self] result in
            core.withLock { $0.calls.end(request.number) }
            completion(result)
        }
    }

    /// A completion for a call that asks the bucket before it does anything: when its caller is killed it is over, with EINTR, and what
    /// comes later is dropped.
    func asking<Value: Sendable>(
        _ request: TreeRequest,
        _ completion: @escaping Completion<Value>
    ) -> Completion<Value> {
        let waiter = Lock<Completion<Value>?>(completion)
        @Sendable func answer(_ result: Result<Value, Errno>) {
            let completion = waiter.withLock { waiter in
                defer { waiter = nil }
                return waiter
            }
            completion?(result)
        }
        core.withLock { $0.calls.ask(request.number) { answer(.failure(.interrupted)) } }
        return { [self] result in
            core.withLock { $0.calls.end(request.number) }
            answer(result)
        }
    }

    /// Completes when the content that the file has now, or a later one, is published under its name.
    ///
    /// - Parameter request: of a call whose completion comes from `waiting`.
    func publish(_ node: NameNode, _ request: TreeRequest, _ completion: @escaping Completion<Void>) {
        update { core in
            core.engine.state.staged[node]?.seal()
            core.engine.hurry(node)
        }
        let key = ask { core in
            guard let result = Self.published(node, request, core) else { return nil }
            return { completion(result) }
        }
        guard let key, let deadline = options.publishDeadline else { return }
        after(deadline) { [self] in
            let isWaiting = core.withLock { $0.watchers.removeValue(forKey: key) != nil }
            if isWaiting { completion(.failure(.timedOut)) }
        }
    }

    /// Whether the file is published, or why nobody waits for that; nil as long as all is open.
    private static func published(_ node: NameNode, _ request: TreeRequest, _ core: Core) -> Result<Void, Errno>? {
        let state = core.engine.state
        if let failure = state.staged[node]?.failure { return .failure(failure) }
        if let error = core.engine.failures[node] { return .failure(errno(error)) }
        let isThere =
            state.names.files[node] == nil || !state.names.tree.isNamed(node)
            || state.names.isCurrent(node) && state.names.files[node]?.isBusy == false
        if isThere { return .success(()) }
        return core.calls.isInterrupted(request.number) ? .failure(.interrupted) : nil
    }

    // MARK: Deadlines and signals

    /// Calls `body` when the time is over, which looks whether there is still something to end.
    private func after(_ deadline: Duration, _ body: @escaping @Sendable () -> Void) {
        run { [time] in
            // Cancelled by nobody; if it were, an early end would do less harm than none.
            try? await time.sleep(for: deadline)
            body()
        }
    }

    /// Ends a wait with EINTR. What was written stays written, and goes to the bucket; nothing else has an end.
    package func interrupt(_ request: TreeRequest) {
        let isKill = isKilled(request.thread)
        switch core.withLock({ $0.calls.interrupt(request.number, isKill: isKill) }) {
        case .queued(let ticket): return giveUp(ticket, .interrupted)
        case .asking(let end): return end()
        // Whoever waits for the bucket to have something looks now.
        case nil: update { _ in }
        }
        // The kernel tells of the first signal alone, and a kill may come after it.
        if request.thread > 0, core.withLock({ $0.calls.isAsking(request.number) }) {
            after(.seconds(1)) { [self] in interrupt(request) }
        }
    }
}
