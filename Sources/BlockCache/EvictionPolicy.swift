/// Which files of the disk cache go when there is no room: whole files, in an order that one pass cannot upset.
///
/// Two segments: a file that was read again after it had been filled is *protected*, any other is on *probation*. Those on
/// probation go first, least recently used first. Protected ones beyond `protectedShare` of the cache, again the least
/// recently used, count as on probation, so that yesterday's model makes room for today's. A file on probation never
/// drives out a protected one within that share: a pass over more than fits goes by.
///
/// What is pinned never goes, as long as all that is pinned, counted whole, stays within `pinnedShare`. What is pinned
/// beyond it, because the cache was made smaller or somebody else's was larger, counts as protected; who was pinned
/// first stays pinned.
struct EvictionPolicy: Sendable {
    struct Candidate: Hashable, Sendable {
        let name: String
        /// What it takes of the disk, in bytes.
        let bytes: Int
        let use: DiskTable.Use
        /// It is being filled right now, by somebody.
        let isFilling: Bool
        /// When all of it is there, in bytes.
        var size = 0
        /// In seconds since 1970; nil: it is not pinned.
        var pinnedSince: Int64?
    }

    /// Of the cache's size, in percent.
    static let protectedShare = 80
    /// Of the cache's size, in percent: the rest is for what comes and goes.
    static let pinnedShare = 90

    /// What may be pinned of a cache of this size, in bytes.
    static func pinnable(limit: Int) -> Int { limit / 100 * pinnedShare }

    /// Those whose pins hold, and what they take when they are whole.
    static func pinned(_ candidates: [Candidate], limit: Int) -> (names: Set<String>, bytes: Int) {
        var left = pinnable(limit: limit)
        var names: Set<String> = []
        let pinned = candidates.filter { $0.pinnedSince != nil }
        for candidate in pinned.sorted(by: { ($0.pinnedSince ?? 0, $0.name) < ($1.pinnedSince ?? 0, $1.name) })
        where max(candidate.size, candidate.bytes) <= left {
            left -= max(candidate.size, candidate.bytes)
            names.insert(candidate.name)
        }
        return (names, pinnable(limit: limit) - left)
    }

    /// - Parameters:
    ///   - requester: the file that wants room; it never goes.
    ///   - limit: the cache's size in bytes.
    /// - Returns: the files that may go, in order.
    static func order(
        _ candidates: [Candidate],
        requester: String,
        limit: Int
    ) -> [Candidate] {
        let pins = pinned(candidates, limit: limit)
        let candidates = candidates.filter { !pins.names.contains($0.name) }
        let protected = candidates.filter { $0.use.isProtected || $0.pinnedSince != nil }.sorted(by: isOlder)
        let total = protected.reduce(0) { $0 + $1.bytes }
        var beyond = total - (limit - pins.bytes) / 100 * protectedShare
        var demoted: [Candidate] = []
        for candidate in protected where beyond > 0 {
            demoted.append(candidate)
            beyond -= candidate.bytes
        }
        let probation = candidates.filter { !$0.use.isProtected && $0.pinnedSince == nil && !$0.isFilling }
            .sorted(by: isOlder)
        var order = probation + demoted
        // Within the protected segment the one used last wins, as in the other; who is pinned wins over all of them.
        if pins.names.contains(requester) || protected.contains(where: { $0.name == requester }) {
            order += protected.dropFirst(demoted.count)
        }
        return order.filter { $0.name != requester }
    }

    private static func isOlder(_ left: Candidate, _ right: Candidate) -> Bool {
        (left.use.last, left.name) < (right.use.last, right.name)
    }
}
