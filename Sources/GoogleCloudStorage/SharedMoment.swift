import LinuxPlatform
import Synchronization

/// The latest moment of something that many threads do.
final class SharedMoment: Sendable {
    private let nanoseconds = Atomic<Int64>(.min)

    /// It happened now.
    func note(_ now: MonotonicInstant) { nanoseconds.max(now.nanoseconds, ordering: .relaxed) }

    /// Whether it happened at that moment or after it.
    func isSince(_ moment: MonotonicInstant) -> Bool { nanoseconds.load(ordering: .relaxed) >= moment.nanoseconds }
}
