import Glibc

/// What this process has used so far.
package struct ProcessStatus: Hashable, Sendable {
    /// Memory that is resident now, in bytes (`VmRSS`).
    package let residentBytes: Int
    /// The most that was resident at once (`VmHWM`).
    package let peakResidentBytes: Int
    /// Processor time of all threads, in this program and in the kernel for it.
    package let processorTime: Duration

    /// Source: proc(5), `/proc/self/status`, and getrusage(2). Nil where /proc is missing.
    package static func current() -> ProcessStatus? {
        guard let bytes = try? DurableFile.read("/proc/self/status", limit: 1 << 16) else { return nil }
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        let time = duration(usage.ru_utime) + duration(usage.ru_stime)
        return ProcessStatus(text: String(decoding: bytes, as: UTF8.self), processorTime: time)
    }

    /// Reads the kernel's text.
    package init?(text: String, processorTime: Duration) {
        guard let resident = Self.kibibytes("VmRSS:", text), let peak = Self.kibibytes("VmHWM:", text) else {
            return nil
        }
        residentBytes = resident * 1024
        peakResidentBytes = peak * 1024
        self.processorTime = processorTime
    }

    private static func kibibytes(_ key: String, _ text: String) -> Int? {
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }) else { return nil }
        let number = line.dropFirst(key.count).prefix { $0.isWhitespace || $0.isNumber }.filter(\.isNumber)
        return Int(number).flatMap { $0 < 1 << 40 ? $0 : nil }
    }

    /// Whether SIGKILL is on its way to a process or thread: its own, or what any other signal that ends it has become.
    ///
    /// False for one that nobody knows here, such as one of another container.
    ///
    /// Source: proc(5), `SigPnd` and `ShdPnd` of `/proc/PID/status`; `complete_signal` of the kernel's signal.c.
    package static func isKilled(_ number: Int32) -> Bool {
        guard number > 0, let bytes = try? DurableFile.read("/proc/\(number)/status", limit: 1 << 16) else {
            return false
        }
        return isKilled(text: String(decoding: bytes, as: UTF8.self))
    }

    /// Reads the kernel's text.
    static func isKilled(text: String) -> Bool {
        text.split(separator: "\n").contains { line in
            guard line.hasPrefix("SigPnd:") || line.hasPrefix("ShdPnd:") else { return false }
            let digits = line.drop { $0 != ":" }.dropFirst().drop(while: \.isWhitespace)
            return UInt64(digits, radix: 16).map { $0 & 1 << UInt64(SIGKILL - 1) != 0 } ?? false
        }
    }

    private static func duration(_ time: timeval) -> Duration {
        .seconds(Int64(time.tv_sec)) + .microseconds(Int64(time.tv_usec))
    }
}
