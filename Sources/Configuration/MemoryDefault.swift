package import LinuxPlatform

/// A default that depends on the machine: weaker than everything that somebody says.
package struct MachineDefault: Hashable, Sendable {
    /// Of the setting.
    package let name: String
    /// As a flag would give it.
    package let value: String
    /// Where it comes from, for people.
    package let source: String

    package init(name: String, value: String, source: String) {
        self.name = name
        self.value = value
        self.source = source
    }
}

/// What `--memory` is when nobody says: a part of what this process may use, so that most of it is left to the page cache,
/// out of which models are served.
///
/// A quarter of the limit less `overhead`, but not below 64 MiB and not above 512 MiB. A limit under 224 MiB counts
/// half, so that buffers and overhead together never take more than that; never less than 16 MiB.
package enum MemoryDefault {
    /// What a process takes beside `--memory` at most; docs/SEMANTICS.md promises it.
    package static let overhead = 48 << 20
    /// The smallest that works.
    package static let least = 16 << 20
    private static let usual = (64 << 20)...(512 << 20)

    /// - Parameter limit: what the process may use, in bytes.
    /// - Returns: whole MiB, in bytes.
    package static func bytes(limit: Int) -> Int {
        let quarter = min(max(limit / 4 - overhead, usual.lowerBound), usual.upperBound)
        let held = max(min(quarter, limit / 2 - overhead), least)
        return (held >> 20) << 20
    }

    /// The default for a process with this limit; nil when it is not known.
    package static func setting(_ limit: MemoryLimit?) -> MachineDefault? {
        guard let limit else { return nil }
        return MachineDefault(
            name: PenstockSettings.memory.name,
            value: ByteSize(bytes: bytes(limit: limit.bytes)).description,
            source: "default for \(ByteSize(bytes: (limit.bytes >> 20) << 20)) (\(limit.source))"
        )
    }
}
