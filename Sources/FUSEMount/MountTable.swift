package import LinuxPlatform

/// The mounts of this process's namespace. Source: proc_pid_mountinfo(5).
package struct MountTable: Sendable {
    package struct Entry: Hashable, Sendable {
        /// `major:minor` of the filesystem, as in /sys/class/bdi.
        package var device: String
        /// Which of the filesystem's directories is shown there: `/`, or another one behind a bind mount.
        package var root: String
        package var mountPoint: String
        /// For example `ext4` or `fuse.penstock`.
        package var type: String
        package var source: String
    }

    private static let maximumBytes = 64 << 20

    /// In the order they were made: of those at one place the last is on top.
    package let entries: [Entry]

    /// Reads /proc/self/mountinfo.
    package static func current() throws(Errno) -> Self {
        let file = try FileDescriptor(path: "/proc/self/mountinfo", flags: 0)
        var bytes: [UInt8] = []
        let piece = BufferLease(size: 1 << 16)
        while bytes.count < maximumBytes {
            let count = try file.read(into: piece.bytes, at: bytes.count)
            if count == 0 { break }
            bytes += piece.bytes[..<count]
        }
        return Self(parsing: String(decoding: bytes, as: UTF8.self))
    }

    /// Lines that are not understood are left out.
    package init(parsing text: String) {
        entries = text.split(separator: "\n").compactMap { line in
            // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 2 else { return nil }
            return Entry(
                device: String(fields[2]),
                root: Self.unescaped(fields[3]),
                mountPoint: Self.unescaped(fields[4]),
                type: String(fields[dash + 1]),
                source: Self.unescaped(fields[dash + 2])
            )
        }
    }

    /// What is on top at exactly this path.
    package func top(at path: String) -> Entry? { entries.last { $0.mountPoint.utf8.elementsEqual(path.utf8) } }

    /// What shows a path: the mount with the longest mount point at or above it, and of those the last.
    ///
    /// - Parameter path: absolute, without symbolic links.
    package func mount(of path: String) -> Entry? {
        let above = entries.filter { entry in
            let point = entry.mountPoint.utf8
            guard path.utf8.starts(with: point) else { return false }
            let rest = path.utf8.dropFirst(point.count)
            return rest.isEmpty || rest.first == 0x2F || entry.mountPoint == "/"
        }
        return above.reduce(nil) { best, entry in
            entry.mountPoint.utf8.count >= best?.mountPoint.utf8.count ?? 0 ? entry : best
        }
    }

    /// Space, tab, line feed and backslash are written as three octal digits.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == 0x5C, digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }) {
                bytes.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 << 3 | Int($1 - 0x30) }))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
