import LinuxPlatform

/// Whether a reply waits for the network or for this machine: for how much of the time its socket was known to be empty.
///
/// Bytes in the socket say nothing by themselves: what comes slowly comes in lumps, too. A socket counts as empty from when
/// all was taken from it to the last poll that found nothing on it, and while a poll sleeps; what lies between that and the
/// poll that found something is nobody's, for nobody knows when it came.
struct ReceiveBalance {
    /// A verdict is about at least so long.
    static let window = Duration.milliseconds(20)

    private var start: MonotonicInstant?
    private var empty = Duration.zero
    /// It was empty then, and has not been seen otherwise since.
    private var emptySince: MonotonicInstant?

    /// A poll began to wait, and came back.
    mutating func polled(from began: MonotonicInstant, to ended: MonotonicInstant, isReady: Bool) {
        if start == nil { start = began }
        empty += (isReady ? began : emptySince ?? began).duration(to: ended)
        emptySince = isReady ? nil : ended
    }

    /// Bytes were taken from it.
    ///
    /// - Parameter isDrained: nothing is left.
    /// - Returns: true when it was empty for less than half of the time: this machine is behind. False otherwise, and when it is
    ///   too early to say.
    mutating func received(isDrained: Bool, at now: MonotonicInstant) -> Bool {
        emptySince = isDrained ? now : nil
        guard let start else { return false }
        let time = start.duration(to: now)
        guard time >= Self.window else { return false }
        defer { (self.start, empty) = (now, .zero) }
        return empty * 2 < time
    }
}
