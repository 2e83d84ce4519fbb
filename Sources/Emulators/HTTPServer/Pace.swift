import LinuxPlatform

/// Holds one direction of a connection to a bandwidth.
struct Pace {
    private static let largestPiece = 512 << 10
    private let bytesPerSecond: Int?
    private var started: MonotonicInstant?
    private var count = 0
    private var rate: Int?

    init(bytesPerSecond: Int?) { self.bytesPerSecond = bytesPerSecond }

    /// The most bytes to move before `sent`; nil without a bandwidth.
    ///
    /// - Parameter newRate: replaces the rate given at the start.
    mutating func pieceLimit(_ newRate: Int? = nil) -> Int? {
        rate = newRate ?? bytesPerSecond
        // Twenty pieces a second: smooth enough to look slow, few enough to cost nothing. A fast connection in no larger
        // pieces than its socket holds: they would arrive at once, and the pause come when nobody waits any more.
        return rate.map { min(max(1, $0 / 20), Self.largestPiece) }
    }

    /// Counts bytes that were moved and waits until they are due; returns early when the connection has ended.
    mutating func sent(_ bytes: Int, on socket: Int32) {
        guard let rate, rate > 0 else { return }
        let now = SystemTime().now()
        let start = started ?? now
        started = start
        count += bytes
        let due = start.advanced(by: .nanoseconds(Int64(Double(count) / Double(rate) * 1e9)))
        try? Socket.pause(socket, for: now.duration(to: due))
    }
}
