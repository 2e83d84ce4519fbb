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

    package init(source: any RangedSource, checks: ContentChecks) {
        id = ID(value: Self.lastID.add(1, ordering: .relaxed).newValue)
        self.source = source
        self.checks = checks
        whole = WholeCheck(size: source.size, expected: checks.whole)
    }

    /// In bytes.
    package var size: Int { source.size }
    /// Small and without a table: fetched whole and proven before anybody sees a byte of it.
    package var isProvenWhole: Bool {
        !checks.hasTable && checks.whole != nil && size <= BlockGeometry.blockSize
    }
    /// What it is, for people: the object and its generation.
    package var label: String { source.label }
}
