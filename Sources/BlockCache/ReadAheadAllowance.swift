/// How many requests that nobody waits for may be on their way, when the store asks to slow down.
///
/// Each such wish halves it, and those of requests that were on their way together count once; each request that ends
/// well gives a part of one back. What readers wait for is always fetched: they are few, and a store that is slow to
/// them is slow enough.
struct ReadAheadAllowance: Sendable {
    static let least = 2
    private static let unlimited = 1 << 20

    /// Requests; more than anybody asks for as long as the store is content.
    private(set) var limit = unlimited
    /// Requests that must end before the next wish counts.
    private var unheard = 0
    private var credit = 0

    /// The store asked to slow down while so many such requests were on their way.
    mutating func throttled(onTheirWay: Int) {
        guard unheard == 0 else { return }
        limit = max(Self.least, min(limit, onTheirWay) / 2)
        unheard = onTheirWay
        credit = 0
    }

    /// A request that nobody waited for has ended.
    mutating func ended(well: Bool) {
        if unheard > 0 {
            unheard -= 1
            return
        }
        guard well, limit < Self.unlimited else { return }
        credit += 1
        // One more for each round of as many as there may be.
        guard credit >= limit else { return }
        credit = 0
        limit += 1
        if limit >= Self.enough { limit = Self.unlimited }
    }

    /// From here on nobody can tell the limit from none.
    private static let enough = 64
}
