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

    /// - Parameter backing: who knows of a file with the same bytes; nil where no disk is used.
    package init(source: any RangedSource, checks: ContentChecks, backing: (any BackingSource)? = nil) {
        id = ID(value: Self.lastID.add(1, ordering: .relaxed).newValue)
        self.source = source
        self.checks = checks
        whole = WholeCheck(size: source.size, expected: checks.whole)
        backingSource = backing
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
