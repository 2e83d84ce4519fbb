/// Which files of the disk cache go when there is no room: whole files, in an order that one pass cannot upset.
///
/// Two segments: a file that was read again after it had been filled is *protected*, any other is on *probation*. Those on
/// probation go first, least recently used first. Protected ones beyond `protectedShare` of the cache, again the least
/// recently used, count as on probation, so that yesterday's model makes room for today's. A file on probation never
/// drives out a protected one within that share: a pass over more than fits goes by.
struct EvictionPolicy: Sendable {
    struct Candidate: Hashable, Sendable {
        let name: String
        /// What it takes of the disk, in bytes.
        let bytes: Int
        let use: DiskTable.Use
        /// It is being filled right now, by somebody.
        let isFilling: Bool
    }

    /// Of the cache's size, in percent.
    static let protectedShare = 80

    /// - Parameters:
    ///   - requester: the file that wants room; it never goes.
    ///   - limit: the cache's size in bytes.
    /// - Returns: the files that may go, in order.
    static func order(
        _ candidates: [Candidate],
        requester: String,
        limit: Int
    ) -> [Candidate] {
        let protected = candidates.filter(\.use.isProtected).sorted(by: isOlder)
        let total = protected.reduce(0) { $0 + $1.bytes }
        var beyond = total - limit / 100 * protectedShare
        var demoted: [Candidate] = []
        for candidate in protected where beyond > 0 {
            demoted.append(candidate)
            beyond -= candidate.bytes
        }
        let probation = candidates.filter { !$0.use.isProtected && !$0.isFilling }.sorted(by: isOlder)
        var order = probation + demoted
        // Within the protected segment the one used last wins, as in the other.
        if protected.contains(where: { $0.name == requester }) { order += protected.dropFirst(demoted.count) }
        return order.filter { $0.name != requester }
    }

    private static func isOlder(_ left: Candidate, _ right: Candidate) -> Bool {
        (left.use.last, left.name) < (right.use.last, right.name)
    }
}
