import Glibc
import LinuxPlatform

/// Whether the disk of the cache is worth asking: after an error it is left alone for a while, each time for longer.
///
/// A full or read-only disk is still read.
struct DiskHealth: Sendable {
    static let firstPause = Duration.seconds(30)
    static let longestPause = Duration.seconds(600)

    private var pause = firstPause
    private var readsFrom: MonotonicInstant?
    private var writesFrom: MonotonicInstant?

    /// Whether reading is worth a try.
    mutating func mayRead(_ now: MonotonicInstant) -> Bool { Self.isOver(&readsFrom, now) }

    /// Whether writing is worth a try.
    mutating func mayWrite(_ now: MonotonicInstant) -> Bool { mayRead(now) && Self.isOver(&writesFrom, now) }

    /// An operation failed.
    ///
    /// - Returns: how long the disk is left alone, if that begins now: worth a line in the log.
    mutating func failed(_ error: Errno, _ now: MonotonicInstant) -> Duration? {
        let concernsWrites = Self.concernsWritesOnly(error)
        guard concernsWrites ? mayWrite(now) : mayRead(now) else { return nil }
        let until = now.advanced(by: pause)
        if concernsWrites { writesFrom = until } else { readsFrom = until }
        defer { pause = min(pause * 2, Self.longestPause) }
        return pause
    }

    /// A write succeeded: the next error begins with a short pause again.
    mutating func wrote() { pause = Self.firstPause }

    private static func concernsWritesOnly(_ error: Errno) -> Bool {
        [ENOSPC, EDQUOT, EROFS, EFBIG].contains(error.code)
    }

    private static func isOver(_ instant: inout MonotonicInstant?, _ now: MonotonicInstant) -> Bool {
        guard let until = instant else { return true }
        if now < until { return false }
        instant = nil
        return true
    }
}
