import LinuxPlatform

/// What a store's network does usually, learned from the requests that it answered.
///
/// Only requests that were left alone teach: those that were given up would teach the moment at which they were, and so
/// raise it with every stall. A network that becomes slow for good is learned all the same, because a read is helped a
/// few times only and then left alone, and because the budget runs out.
package struct NetworkEstimate: Sendable {
    /// Below it nothing is late: threads are scheduled that late on a busy machine.
    package static let floor = Duration.milliseconds(50)
    /// Before enough was learned.
    package static let unlearned = Duration.seconds(1)
    /// Requests that must have been answered before what they took counts.
    package static let enough = 8
    /// Bodies shorter than this say nothing of a rate.
    package static let smallestBody = 512 << 10

    private var firstByte = DecayingQuantiles(smallest: 1e-5)
    private var rate = DecayingQuantiles(smallest: 1024)

    package init() {}

    /// A request was answered: from when it was sent on a connection to the first byte of its body. Connecting, and
    /// waiting for a connection, are no part of it.
    package mutating func answered(after time: Duration) { firstByte.add(time.inSeconds) }

    /// A body came to its end, this long after its first byte.
    package mutating func received(_ bytes: Int, in time: Duration) {
        if bytes >= Self.smallestBody { rate.add(Double(bytes) / max(time.inSeconds, 1e-6)) }
    }

    /// Seconds to the first byte that half of the requests take, and 99 of 100; nil before enough was learned.
    package var firstByteMedian: Double? { firstByte.count < Self.enough ? nil : firstByte.quantile(0.5) }
    package var firstByteP99: Double? { firstByte.count < Self.enough ? nil : firstByte.quantile(0.99) }
    /// Bytes per second of one connection; nil before enough was learned.
    package var rateMedian: Double? { rate.count < Self.enough ? nil : rate.quantile(0.5) }

    /// Bytes per second of one connection that had the line for itself, nearly: 9 of 10 were slower, as others shared what this
    /// machine or its network can carry; nil before enough was learned.
    package var rateAlone: Double? { rate.count < Self.enough ? nil : rate.quantile(0.9) }

    /// Silence longer than this is no chance any more: twice what 99 of 100 first bytes take.
    package var patience: Duration {
        guard let usual = firstByteP99 else { return Self.unlearned }
        return max(Self.floor, .seconds(2 * usual))
    }

    /// Whether a body is so slow that a second request for what is left of it would end sooner, by far.
    ///
    /// Slow is a quarter of what a connection can have: learned low quantiles would be those of the slow ones themselves, and
    /// the median is that of connections among many, where the last one, for which all wait, is alone.
    package func isWorthReplacing(rate: Double, left: Int) -> Bool {
        guard let usual = rateAlone, let delay = firstByteMedian, rate < usual / 4 else { return false }
        return Double(left) / max(rate, 1) > 2 * (delay + Double(left) / usual)
    }

    /// What may be on its way to a request that is given up while its bytes come, in bytes: what comes in the time of one
    /// first byte.
    ///
    /// - Parameter rate: of its connection.
    package func bytesOnTheirWay(rate: Double, left: Int) -> Int {
        let bytes = rate * (firstByteMedian ?? 0)
        return min(left, max(64 << 10, Int(min(bytes, 1e15))))
    }

    /// What is on its way to a request that brought nothing for so long, in bytes, on the average.
    ///
    /// That it would have gone on in this very moment is a chance of one in ten at most, and after a second of silence
    /// none: otherwise a few stalls would use up what may be sent for nothing, and the next one would be waited for.
    package func bytesBehindSilence(of time: Duration, left: Int) -> Int {
        if time >= max(Self.unlearned, patience * 4) { return 0 }
        let bytes = (rateMedian ?? 0) * (firstByteMedian ?? 0) / 10
        return min(left, max(64 << 10, Int(min(bytes, 1e15))))
    }
}

/// How many bytes may be sent for nothing: a share of what was delivered, and a large request's worth at once. They are an
/// estimate, so the share is less than the 5 % that are promised.
package struct ExtraBytesBudget: Sendable {
    package static let share = 0.03
    package static let burst = 8 << 20

    private var tokens = Double(burst)

    package init() {}

    package mutating func delivered(_ bytes: Int) {
        tokens = min(Double(Self.burst), tokens + Double(bytes) * Self.share)
    }

    /// Takes so many bytes; false, and nothing is taken, when there are fewer.
    package mutating func take(_ bytes: Int) -> Bool {
        guard tokens >= Double(bytes) else { return false }
        tokens -= Double(bytes)
        return true
    }
}
