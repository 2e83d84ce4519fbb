import Glibc
import LinuxPlatform

// Times in the kernel's shapes.
extension FUSESession {
    /// In seconds, for what never changes behind the kernel's back.
    static let forever = 365.0 * 86_400

    /// How long the kernel may believe something, in seconds.
    static func timeout(until moment: MonotonicInstant) -> Double {
        moment == .distantFuture ? forever : min(max(0, SystemTime().now().duration(to: moment).inSeconds), forever)
    }
}

extension timespec {
    init(_ time: UnixTime) {
        let seconds = time.seconds
        self.init(tv_sec: Int(seconds), tv_nsec: Int(time.nanoseconds - seconds * 1_000_000_000))
    }
}

extension UnixTime {
    /// The nearest one that there is: years before 1678 and after 2261 are cut.
    init(_ time: timespec) {
        let (seconds, isFar) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, isFarther) = seconds.addingReportingOverflow(Int64(time.tv_nsec))
        let limit = time.tv_sec < 0 ? Int64.min : Int64.max
        self.init(nanoseconds: isFar || isFarther ? limit : sum)
    }
}
