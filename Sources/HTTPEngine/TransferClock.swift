import LinuxPlatform

/// Tells when a transfer has waited too long. Knows no I/O: it is told what happened and asked at `due`.
///
/// The clocks of the first byte and of the throughput run only while a connection carries the request: a request that
/// waits for a connection has only its deadline. Connecting itself is timed by libcurl.
struct TransferClock {
    enum Expiry: Equatable {
        case deadline
        case firstByte
        case stalled
    }

    private enum Phase {
        case queued
        case sending
        case awaitingReply(since: MonotonicInstant)
        case receiving
    }

    private let timeouts: HTTPTimeouts
    private let bodyCount: Int
    private var phase = Phase.queued
    private var throughput: ThroughputWindow
    /// All of the body was taken from the caller; the last of it may still be on its way to the kernel.
    private var handedOver = false
    /// When to ask `check` next.
    private(set) var due: MonotonicInstant

    /// - Parameter bodyCount: bytes of the request's body.
    init(_ timeouts: HTTPTimeouts, bodyCount: Int) {
        self.timeouts = timeouts
        self.bodyCount = bodyCount
        throughput = ThroughputWindow(timeouts)
        due = timeouts.deadline
    }

    /// A connection is there and the request goes out, for the first time or again.
    mutating func connected(at now: MonotonicInstant) {
        handedOver = bodyCount == 0
        if bodyCount == 0 {
            phase = .awaitingReply(since: now)
            schedule(now.advanced(by: timeouts.firstByte))
        } else {
            phase = .sending
            throughput.start(at: now, count: 0)
            schedule(throughput.next)
        }
    }

    /// The last byte of the body was taken from the caller.
    mutating func bodyHandedOver(at now: MonotonicInstant) {
        handedOver = true
        schedule(now)
    }

    /// The first line of the reply is there.
    mutating func replyBegan(at now: MonotonicInstant, received: Int) {
        phase = .receiving
        throughput.start(at: now, count: received)
        schedule(throughput.next)
    }

    /// Whether a wait has ended badly; sets the next `due`.
    ///
    /// - Parameters:
    ///   - sent: bytes of the body given to the kernel.
    ///   - received: bytes of the reply.
    mutating func check(at now: MonotonicInstant, sent: Int, received: Int) -> Expiry? {
        if now >= timeouts.deadline { return .deadline }
        switch phase {
        case .queued:
            schedule(.distantFuture)
        case .sending where sent >= bodyCount:
            phase = .awaitingReply(since: now)
            schedule(now.advanced(by: timeouts.firstByte))
        case .sending:
            if throughput.isTooSlow(at: now, count: sent) { return .stalled }
            schedule(handedOver ? min(throughput.next, now.advanced(by: timeouts.firstByte / 4)) : throughput.next)
        case .awaitingReply(let since):
            let end = since.advanced(by: timeouts.firstByte)
            if now >= end { return .firstByte }
            schedule(end)
        case .receiving:
            if throughput.isTooSlow(at: now, count: received) { return .stalled }
            schedule(throughput.next)
        }
        return nil
    }

    private mutating func schedule(_ moment: MonotonicInstant) { due = min(moment, timeouts.deadline) }
}

/// Whether at least so many bytes moved in the last while, looked at in quarters of it.
struct ThroughputWindow {
    private static let quarters = 4
    private let quarter: Duration
    private let minimum: Double
    private var marks: [Int] = []
    /// When the next quarter ends.
    private(set) var next = MonotonicInstant.distantFuture

    init(_ timeouts: HTTPTimeouts) {
        quarter = timeouts.slowFor / Self.quarters
        minimum = Double(timeouts.minimumBytesPerSecond) * timeouts.slowFor.inSeconds
    }

    /// Counts from here on.
    mutating func start(at now: MonotonicInstant, count: Int) {
        guard minimum > 0 else { return }
        marks = [count]
        next = now.advanced(by: quarter)
    }

    /// Whether four quarters moved less than the minimum. `count` counts all bytes since the beginning.
    mutating func isTooSlow(at now: MonotonicInstant, count: Int) -> Bool {
        guard now >= next else { return false }
        next = now.advanced(by: quarter)
        marks.append(count)
        guard marks.count > Self.quarters else { return false }
        return Double(count - marks.removeFirst()) < minimum
    }
}
