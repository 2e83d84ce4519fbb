package import LinuxPlatform

// A lease is held until its time to live has passed since the last renewal that the server confirmed. The holder counts
// from the moment it *sent* that renewal, on its own monotonic clock, so its idea of the end is never later than the
// server's. A process that was frozen past that moment sees it at its first look and must not write.
//
// States: held → (renewal refused) lost; held → (too long without a renewal) lost; lost is final.

/// What the holder of a lease knows about its term. No clock, no I/O.
package struct LeaseTerm: Sendable {
    package enum Standing: Sendable, Equatable {
        /// Safe to go on.
        case held
        /// Still ours, but renew before doing anything that matters.
        case renewFirst
        /// Not ours any more.
        case lost
    }

    package let timeToLive: Duration
    private var confirmed: MonotonicInstant
    private var isLost = false

    /// - Parameter sent: when the request that took the lease was sent.
    package init(timeToLive: Duration, sent: MonotonicInstant) {
        self.timeToLive = timeToLive
        confirmed = sent
    }

    /// Once in 15 s for a minute's lease: an object takes about one change a second.
    package var renewalInterval: Duration { timeToLive / 4 }

    package func standing(now: MonotonicInstant) -> Standing {
        if isLost { return .lost }
        let age = confirmed.duration(to: now)
        if age >= timeToLive { return .lost }
        return age >= timeToLive / 2 ? .renewFirst : .held
    }

    /// The server confirmed a renewal that was sent at `sent`.
    package mutating func renewed(sent: MonotonicInstant) {
        if sent > confirmed { confirmed = sent }
    }

    /// The server says that the lease is another's, or gone.
    package mutating func refused() { isLost = true }
}
