import LinuxPlatform

/// A process that was killed, and cannot go: one of its threads waits in the kernel for something that only its successor
/// can do.
///
/// That thread asks the kernel to forget a name, and the kernel takes the directory's lock for it; a lookup in the directory
/// holds the lock until it is answered. Such a thread never runs again, so the next process need not wait for its end.
enum DyingProcess {
    /// Whether the first thread has ended while the process is still there, by a line of /proc/<process>/stat.
    ///
    /// Source: proc_pid_stat(5). The name of the program, in parentheses, may hold anything.
    static func isDying(_ line: [UInt8]) -> Bool {
        guard let name = line.lastIndex(of: UInt8(ascii: ")")), name + 2 < line.count else { return false }
        return line[name + 2] == UInt8(ascii: "Z")
    }

    /// The same for a child that was not reaped.
    static func isDying(_ process: Int32) -> Bool {
        (try? DurableFile.read("/proc/\(process)/stat", limit: 4096)).map(isDying) ?? false
    }
}
