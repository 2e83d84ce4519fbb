package import Checksums
package import Manifests
package import ObjectStorage

/// The hash by which a repository knows a file: what its bytes must prove.
package enum ContentHash: Hashable, Sendable, CustomStringConvertible {
    /// Of the content: a large file on the Hub.
    case sha256(SHA256Digest)
    /// Of the git blob: a small file on the Hub.
    case git(SHA1Digest)

    /// Names the content among the temporary objects: files of equal content share it.
    package var transfer: TransferID {
        switch self {
        case .sha256(let digest): TransferID(digest)
        case .git(let oid): TransferID(gitOID: oid)
        }
    }

    package var isGit: Bool { if case .git = self { true } else { false } }

    package var description: String {
        switch self {
        case .sha256(let digest): "sha256:\(digest)"
        case .git(let oid): "git:\(oid)"
        }
    }
}

/// A file as its source describes it, before any byte is fetched.
package struct SourceFile: Hashable, Sendable {
    /// Where it goes under the destination's prefix.
    package var path: SafePath
    /// In bytes.
    package var size: Int
    package var hash: ContentHash
    /// Made for the layout, not in the repository: published after everything else.
    package var isGenerated: Bool

    package init(path: SafePath, size: Int, hash: ContentHash, isGenerated: Bool = false) {
        self.path = path
        self.size = size
        self.hash = hash
        self.isGenerated = isGenerated
    }

    package var fileClass: SnapshotManifest.FileClass {
        if isGenerated { return .generated }
        return hash.isGit ? .regular : .lfs
    }
}

/// One fixed set of files to convey: a commit of a repository on the Hub.
package protocol SnapshotSource: AnyObject, Sendable {
    /// Where it comes from, as the manifest records it.
    var origin: SnapshotManifest.Source { get }
    var filters: SnapshotManifest.Filters { get }
    var layout: SnapshotManifest.Layout { get }
    /// What it holds, after the filters. Paths are distinct, and none is both a file and a directory.
    var files: [SourceFile] { get }
    /// The bytes of one of `files`.
    func open(_ file: SourceFile) async throws(SnapshotError) -> any RangedSource
}
