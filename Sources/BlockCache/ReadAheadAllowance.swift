/// How many requests that nobody waits for may be on their way, when the store asks to slow down.
///
/// Each such wish takes a quarter, and those of requests that were on their way together count once. Each request that
/// ends well gives one back up to where it was, since most such wishes are a burst that is over soon; above that each round
/// without one gives half as many more. Who is told again on the way back was too fast, and goes back to less. What readers
/// wait for is always fetched: they are few, and a store that is slow to them is slow enough.
struct ReadAheadAllowance: Sendable {
    static let least = 4
    private static let unlimited = 1 << 20

    /// Requests; more than anybody asks for as long as the store is content.
    private(set) var limit = unlimited
    /// Requests that must end before the next wish counts.
    private var unheard = 0
    private var credit = 0
    /// Up to here it opens again by one for each request.
    private var former = 0

    /// The store asked to slow down while so many such requests were on their way.
    mutating func throttled(onTheirWay: Int) {
        guard unheard == 0 else { return }
        // When few were on their way, it is not their number that the store complains about.
        let used = limit < Self.unlimited ? max(min(limit, onTheirWay), limit / 2) : onTheirWay
        former = limit < former ? (limit + former) / 2 : used
        limit = max(Self.least, used * 3 / 4)
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
        // One more for each; then, half as many more for each round without a complaint.
        guard credit >= limit || limit < former else { return }
        credit = 0
        limit += limit < former ? 1 : limit / 2
        if limit >= Self.enough { limit = Self.unlimited }
    }

    /// From here on nobody can tell the limit from none.
    private static let enough = 64
}
