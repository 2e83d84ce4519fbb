package import LinuxPlatform

// Which reads get a second request.
//
// A read is, at any moment,
//
//     queued      no request of it is on a connection: it begins, waits for one, or pauses between attempts
//     awaiting    a request was sent and has brought nothing yet
//     receiving   bytes come
//     stopping    its request was told to end, and has not ended yet
//
//     queued -> awaiting -> receiving -> (ended)
//     awaiting, receiving -> queued        the source tries again by itself
//     awaiting, receiving -> stopping -> queued again, for the rest, or (ended) when the last byte was faster
//
// Invariants: a read has one request at a time, and a second is begun only after the first has ended, so that its buffer
// never has two writers; a second request begins at the byte where the first stopped; a read that waits between
// attempts is never stopped, nor is one more than `maximumHedges` times; each time it must be twice as late as the time
// before. What may be on its way to a request that is stopped is taken from a budget.
//
// When more than half of four or more requests look ill at once, it is the network and not a connection: then four times
// as much patience is asked for, and slowness does not count. While the store asks to slow down it is twice as much.
//
// A read whose bytes were there before they were taken is not slow: this machine is. A second request would only throw away
// what lies in the socket, megabytes of it.

/// The reads of one store that are on their way, and what the store has taught. No clock, no locks, no I/O.
package struct HedgeTable: Sendable {
    package struct ReadID: Hashable, Sendable {
        let value: UInt64
    }

    /// What is wrong with a request.
    package enum Complaint: String, CaseIterable, Sendable {
        /// No byte since it was sent.
        case late
        /// No further byte.
        case silent
        /// Bytes come, far fewer than usual.
        case slow
    }

    /// A request that is to end, so that a second one brings the rest.
    package struct Stop: Equatable, Sendable {
        package let id: ReadID
        package let complaint: Complaint
        /// Bytes that may have been sent for nothing, at most.
        package let extraBytes: Int
    }

    package enum Next: Equatable, Sendable {
        /// The read is over, as its last request is.
        case over(wasHedged: Bool)
        /// Ask for the rest, from where it stopped.
        case again
    }

    fileprivate enum Phase {
        case queued
        case awaiting(since: MonotonicInstant)
        case receiving
        case stopping
    }

    fileprivate struct Read {
        let count: Int
        var phase = Phase.queued
        /// Times its request was told to end.
        var hedges = 0
        /// A second request was begun.
        var wasResumed = false
        var isCancelled = false
        /// Bytes that were there when the request's first byte came, and when that was.
        var began: (received: Int, at: MonotonicInstant)?
        /// Bytes at the last look that found more than the one before.
        var progress: (received: Int, at: MonotonicInstant)?
        /// Where the stretch began whose rate is looked at.
        var mark: (received: Int, at: MonotonicInstant)?
        /// Since then this machine was behind.
        var isBehind = false
    }

    package static let maximumHedges = 3
    /// After the store asked to slow down, twice the patience is needed for so long. Not more: a second request takes the
    /// place of the first, and adds nothing to what the store has to do at once.
    package static let carefulAfterThrottle = Duration.seconds(1)

    package private(set) var estimate = NetworkEstimate()
    private var budget = ExtraBytesBudget()
    private var reads: [ReadID: Read] = [:]
    private var lastID: UInt64 = 0
    private var carefulUntil: MonotonicInstant?

    package init() {}

    package var isIdle: Bool { reads.isEmpty }

    /// A read begins.
    package mutating func begin(count: Int) -> ReadID {
        lastID += 1
        let id = ReadID(value: lastID)
        reads[id] = Read(count: count)
        return id
    }

    /// The read's request went out on a connection, for the first time or again.
    package mutating func sent(_ id: ReadID, now: MonotonicInstant) {
        switch reads[id]?.phase {
        case .queued, .awaiting, .receiving: reads[id]?.phase = .awaiting(since: now)
        case .stopping, nil: break
        }
    }

    /// The source waits before it tries again.
    package mutating func paused(_ id: ReadID, isThrottled: Bool, now: MonotonicInstant) {
        if isThrottled { carefulUntil = now.advanced(by: Self.carefulAfterThrottle) }
        switch reads[id]?.phase {
        case .awaiting, .receiving: reads[id]?.phase = .queued
        case .queued, .stopping, nil: break
        }
    }

    /// Bytes come after a request was sent; `received` of the read were there before them.
    package mutating func answered(_ id: ReadID, received: Int, now: MonotonicInstant) {
        guard var read = reads[id] else { return }
        switch read.phase {
        case .awaiting(let since): estimate.answered(after: since.duration(to: now))
        case .queued: break
        case .receiving, .stopping: return
        }
        read.phase = .receiving
        read.began = (received, now)
        read.progress = (received, now)
        read.mark = (received, now)
        reads[id] = read
    }

    /// Bytes of the read had come before they were taken.
    package mutating func behind(_ id: ReadID) { reads[id]?.isBehind = true }

    /// The read's request ended; `received` bytes of the read are there.
    package mutating func ended(_ id: ReadID, received: Int, now: MonotonicInstant) -> Next {
        guard var read = reads[id] else { return .over(wasHedged: false) }
        if case .stopping = read.phase, received < read.count, !read.isCancelled {
            read.phase = .queued
            read.wasResumed = true
            reads[id] = read
            return .again
        }
        if case .receiving = read.phase, let began = read.began {
            estimate.received(received - began.received, in: began.at.duration(to: now))
        }
        budget.delivered(received)
        reads[id] = nil
        return .over(wasHedged: read.wasResumed && received >= read.count)
    }

    /// The caller gave up: no second request any more.
    package mutating func cancelled(_ id: ReadID) { reads[id]?.isCancelled = true }

    /// Looks at every read.
    ///
    /// - Parameter received: how many bytes of a read are there.
    /// - Returns: the requests to end now, longest in trouble first as far as the budget reaches.
    package mutating func look(now: MonotonicInstant, received: (ReadID) -> Int) -> [Stop] {
        var ill: [(id: ReadID, complaint: Complaint, since: MonotonicInstant)] = []
        var carried = 0
        for id in reads.keys {
            guard var read = reads[id] else { continue }
            if let found = Self.complaint(about: &read, received(id), estimate, now) {
                ill.append((id, found.0, found.1))
            }
            reads[id] = read
            if read.isCarried { carried += 1 }
        }
        let isShared = carried >= 4 && ill.count * 2 > carried
        return ill.sorted { ($0.since, $0.id.value) < ($1.since, $1.id.value) }.compactMap { patient in
            let waited = patient.since.duration(to: now)
            return stop(patient.id, patient.complaint, waited, isShared: isShared, received(patient.id), now)
        }
    }

    private mutating func stop(
        _ id: ReadID,
        _ complaint: Complaint,
        _ waited: Duration,
        isShared: Bool,
        _ received: Int,
        _ now: MonotonicInstant
    ) -> Stop? {
        guard let read = reads[id], !read.isCancelled, read.hedges < Self.maximumHedges else { return nil }
        let isCareful = carefulUntil.map { now < $0 } ?? false
        let needed = estimate.patience * (1 << read.hedges) * (isShared ? 4 : 1) * (isCareful ? 2 : 1)
        if complaint == .slow ? isShared || read.hedges > 1 : waited < needed { return nil }
        let left = read.count - received
        let extra: Int
        if complaint == .slow, let began = read.began {
            let rate = Double(received - began.received) / max(began.at.duration(to: now).inSeconds, 1e-3)
            extra = estimate.bytesOnTheirWay(rate: rate, left: left)
        } else {
            extra = estimate.bytesBehindSilence(of: waited, left: left)
        }
        guard budget.take(extra) else { return nil }
        reads[id]?.phase = .stopping
        reads[id]?.hedges += 1
        return Stop(id: id, complaint: complaint, extraBytes: extra)
    }

    /// What is wrong with a read now, and since when.
    private static func complaint(
        about read: inout Read,
        _ received: Int,
        _ estimate: NetworkEstimate,
        _ now: MonotonicInstant
    ) -> (Complaint, MonotonicInstant)? {
        switch read.phase {
        case .queued, .stopping: return nil
        case .awaiting(let since):
            return since.duration(to: now) >= estimate.patience ? (.late, since) : nil
        case .receiving:
            guard let progress = read.progress, let mark = read.mark else { return nil }
            if received > progress.received {
                read.progress = (received, now)
            } else if progress.at.duration(to: now) >= estimate.patience {
                return (.silent, progress.at)
            }
            let stretch = mark.at.duration(to: now)
            guard stretch >= NetworkEstimate.floor else { return nil }
            read.mark = (received, now)
            defer { read.isBehind = false }
            if read.isBehind { return nil }
            let rate = Double(received - mark.received) / stretch.inSeconds
            let isSlow = received > mark.received && estimate.isWorthReplacing(rate: rate, left: read.count - received)
            return isSlow ? (.slow, mark.at) : nil
        }
    }
}

extension HedgeTable.Read {
    fileprivate var isCarried: Bool {
        switch phase {
        case .awaiting, .receiving: true
        case .queued, .stopping: false
        }
    }
}
