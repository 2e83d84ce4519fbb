import Glibc

/// What this process runs on, and as.
package enum Host {
    /// The host's name, or `localhost` where the kernel has none (gethostname(2)).
    package static var name: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return text.isEmpty ? "localhost" : String(decoding: text, as: UTF8.self)
    }

    package static var processID: Int { Int(getpid()) }

    /// Processors that this process may use (sched_getaffinity(2) by way of sysconf), at least 1.
    package static var processors: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
