import LinuxPlatform
package import ObjectStorage
import Synchronization

/// One generation of one object, as the cache knows it. Two generations never share a block.
package final class CachedContent: Sendable {
    package struct ID: Hashable, Sendable {
        let value: UInt64
    }

    private static let lastID = Atomic<UInt64>(0)

    /// Never used again in this process: blocks of a content that is gone age out by themselves.
    package let id: ID
    package let source: any RangedSource
    package let checks: ContentChecks
    let whole: WholeCheck
    private let backingSource: (any BackingSource)?
    /// Where its blocks are kept on a disk.
    let disk: DiskContent?
    /// Whether whole blocks are handed to a disk before their memory is used again.
    let keepsBlocks: Bool

    /// - Parameter backing: who knows of a file with the same bytes; nil where no disk is used.
    package convenience init(source: any RangedSource, checks: ContentChecks, backing: (any BackingSource)? = nil) {
        self.init(source: source, checks: checks, backing: backing, keepsBlocks: false)
    }

    /// For tests of decisions alone, too.
    init(source: any RangedSource, checks: ContentChecks, backing: (any BackingSource)? = nil, keepsBlocks: Bool) {
        id = ID(value: Self.lastID.add(1, ordering: .relaxed).newValue)
        self.source = source
        self.checks = checks
        whole = WholeCheck(size: source.size, expected: checks.whole)
        backingSource = backing
        disk = nil
        self.keepsBlocks = keepsBlocks
    }

    /// A content whose blocks are also kept on a disk, if they can be proven there; otherwise as without one.
    ///
    /// - Parameter identity: which bytes these are.
    package init(source: any RangedSource, checks: ContentChecks, disk: DiskCache, identity: DiskIdentity) {
        id = ID(value: Self.lastID.add(1, ordering: .relaxed).newValue)
        self.checks = checks
        whole = WholeCheck(size: source.size, expected: checks.whole)
        guard source.size > 0, identity.size == source.size, checks.provesBlocks(size: source.size) else {
            self.source = source
            self.disk = nil
            keepsBlocks = false
            backingSource = nil
            return
        }
        let content = disk.content(identity, label: source.label, checks: checks)
        self.source = DiskSource(source, content, disk)
        self.disk = content
        keepsBlocks = true
        backingSource = content
        // What an earlier process left is found, and proven, before the first read asks.
        content.whenOpen {}
    }

    let follower = Lock<(@Sendable () -> Void)?>(nil)

    /// Has somebody told whenever a fetch that nobody asked for has ended while a reader waits for another one: whoever plans
    /// ahead may go on though nobody reads. Called on a source's thread, with no lock held; replaces the one before.
    package func whenAheadOfReaders(_ follower: @escaping @Sendable () -> Void) {
        self.follower.withLock { $0 = follower }
    }

    /// A file with all of the bytes, for the kernel to read; nil: not complete, not proven yet, or no disk cache.
    package func backing() -> BackingFile? { backingSource?.backing() }

    /// In bytes.
    package var size: Int { source.size }
    /// Small and without a table: fetched whole and proven before anybody sees a byte of it.
    package var isProvenWhole: Bool {
        !checks.hasTable && checks.whole != nil && size <= BlockGeometry.blockSize
    }
    /// What it is, for people: the object and its generation.
    package var label: String { source.label }
}
