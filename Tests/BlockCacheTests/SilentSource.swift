import LinuxPlatform
import ObjectStorage

@testable import BlockCache

/// A content that nobody reads from: for tests of decisions alone.
final class SilentSource: RangedSource {
    let size: Int
    let label: String

    init(size: Int, label: String = "silent") {
        self.size = size
        self.label = label
    }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        ReadCancellation {}
    }
}

extension CachedContent {
    static func silent(size: Int, keepsBlocks: Bool = false) -> CachedContent {
        CachedContent(source: SilentSource(size: size), checks: .whole(nil), keepsBlocks: keepsBlocks)
    }
}
