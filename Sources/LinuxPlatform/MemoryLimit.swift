import Glibc

/// How much memory this process may use, as the kernel sees it: the tightest limit of its control group and those above.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst (`memory.max`) and cgroup-v1/memory.rst (`memory.limit_in_bytes`).
package struct MemoryLimit: Hashable, Sendable {
    /// In bytes.
    package let bytes: Int
    /// The file the number came from, for people; `/proc/meminfo` when no group limits us.
    package let source: String

    /// The limit of this process: of its control group, or else the machine's memory. Nil when neither can be read.
    package static func current() -> MemoryLimit? { read { try? String(decoding: file($0), as: UTF8.self) } }

    /// The limit as the given files say it.
    ///
    /// - Parameter contents: of a file by its absolute path; nil when it is missing.
    package static func read(_ contents: (String) -> String?) -> MemoryLimit? {
        let mounts = contents("/proc/self/mountinfo").map(ControlGroupMount.parse) ?? []
        var tightest: MemoryLimit?
        for group in contents("/proc/self/cgroup").map(ControlGroup.parse) ?? [] {
            for mount in mounts where mount.version == group.version {
                let name = group.version == 2 ? "memory.max" : "memory.limit_in_bytes"
                for directory in mount.directories(of: group.path) {
                    let file = "\(directory)/\(name)"
                    guard let bytes = contents(file).flatMap(limit), bytes < tightest?.bytes ?? .max else { continue }
                    tightest = MemoryLimit(bytes: bytes, source: file)
                }
            }
        }
        let machine = contents("/proc/meminfo").flatMap(machineMemory)
            .map { MemoryLimit(bytes: $0, source: "/proc/meminfo") }
        guard let tightest, let machine else { return tightest ?? machine }
        return tightest.bytes < machine.bytes ? tightest : machine
    }

    /// A number of bytes; `max`, and version 1's "no limit" (near 2^63), are nil.
    private static func limit(_ text: String) -> Int? {
        guard let number = Int(text.prefix { !$0.isWhitespace }), number > 0, number < 1 << 60 else { return nil }
        return number
    }

    private static func machineMemory(_ text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("MemTotal:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
        }
        return nil
    }

    private static func file(_ path: String) throws(Errno) -> [UInt8] {
        try DurableFile.read(path, limit: 1 << 20)
    }
}

/// A line of /proc/self/cgroup that concerns memory.
private struct ControlGroup {
    let version: Int
    let path: String

    /// `0::/path` is version 2; `4:memory:/path` is version 1's memory controller.
    static func parse(_ text: String) -> [ControlGroup] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return nil }
            if fields[0] == "0", fields[1].isEmpty { return ControlGroup(version: 2, path: String(fields[2])) }
            guard fields[1].split(separator: ",").contains("memory") else { return nil }
            return ControlGroup(version: 1, path: String(fields[2]))
        }
    }
}

/// A mount of the control group filesystem that shows memory limits.
private struct ControlGroupMount {
    let version: Int
    /// Which group the mount point shows: in a container often not the root.
    let root: String
    let point: String

    /// Source: proc(5), `/proc/pid/mountinfo`: id parent device root point options… - type source options.
    static func parse(_ text: String) -> [ControlGroupMount] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ").map(String.init)
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
            let (type, options) = (fields[dash + 1], fields[dash + 3].split(separator: ","))
            let version = type == "cgroup2" ? 2 : type == "cgroup" && options.contains("memory") ? 1 : 0
            guard version > 0 else { return nil }
            return ControlGroupMount(version: version, root: fields[3], point: fields[4])
        }
    }

    /// The directories of a group and those above it, as far as the mount shows them.
    func directories(of path: String) -> [String] {
        var segments = path.split(separator: "/").map(String.init)
        let rootSegments = root.split(separator: "/").map(String.init)
        // A namespace shows a path relative to a root that we do not see, or one with `..`: then the mount point is all
        // there is to look at.
        if segments.starts(with: rootSegments) {
            segments.removeFirst(rootSegments.count)
        } else {
            segments = []
        }
        if segments.contains("..") { segments = [] }
        return (0...segments.count).reversed().map { count in
            ([point] + segments[..<count]).joined(separator: "/")
        }
    }
}
