import LinuxPlatform

// Where a reader of a directory is, as a number that the kernel gives back later: 0 is before `.`, 1 before `..`, and
// 2 + n before the entry n. Where a listing may be another one when the reader goes on, after the process that began it has
// died, the number also has a part of the name that was read last: 31 bits of its hash, above 32 bits of the position.
extension DirectoryListing {
    /// Nothing in it ever changes, so the plain position is enough.
    private var isFixed: Bool { validUntil == .distantFuture }

    /// The number that says: after what stands at `position`.
    ///
    /// - Parameter position: 0 to `entries.count + 1`.
    package func cookie(after position: Int) -> Int {
        guard position >= 2, !isFixed else { return position + 1 }
        return Self.hash(entries.name(at: position - 2)) << 32 | (position + 1)
    }

    /// Where a number of `cookie`, maybe of an older listing of this directory, leads to.
    ///
    /// Names that stand in both listings are read once, each. When the very name that was read last is gone, it is the same
    /// number of names from the beginning.
    package func position(of cookie: Int) -> Int {
        let position = max(0, cookie) & 0xFFFF_FFFF
        let hash = max(0, cookie) >> 32
        guard hash != 0, position >= 3 else { return position }
        let last = min(position - 3, entries.count)
        for distance in 0...entries.count {
            for index in [last - distance, last + distance] where entries.indices.contains(index) {
                if Self.hash(entries.name(at: index)) == hash { return index + 3 }
            }
        }
        return min(position, entries.count + 2)
    }

    /// FNV-1a, cut to 31 bits; never 0.
    private static func hash(_ name: EntryName) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.value.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return max(1, Int((hash >> 33) & 0x7FFF_FFFF))
    }
}
