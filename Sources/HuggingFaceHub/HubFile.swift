package import Checksums
package import ObjectStorage

/// What a file's content must hash to.
package enum HubContentHash: Hashable, Sendable, CustomStringConvertible {
    /// SHA-256 of the content: files in LFS or Xet.
    case sha256(SHA256Digest)
    /// Git's blob hash of the content: files in git itself.
    case gitSHA1(SHA1Digest)

    package var hex: String {
        switch self {
        case .sha256(let digest): digest.hex
        case .gitSHA1(let digest): digest.hex
        }
    }

    package var description: String {
        switch self {
        case .sha256(let digest): "sha256:\(digest)"
        case .gitSHA1(let digest): "git-sha1:\(digest)"
        }
    }
}

/// One file of a commit, as its tree lists it: names checked, digests well-formed.
package struct HubFile: Hashable, Sendable {
    package let path: SafePath
    /// Of the content, in bytes.
    package let size: Int
    /// Of the git blob: the content itself, or for LFS its pointer.
    package let gitOID: SHA1Digest
    package let lfsSHA256: SHA256Digest?
    /// In the string form of Xet, where the file is stored there.
    package let xetHash: String?

    package init(path: SafePath, size: Int, gitOID: SHA1Digest, lfsSHA256: SHA256Digest? = nil, xetHash: String? = nil)
    {
        self.path = path
        self.size = size
        self.gitOID = gitOID
        self.lfsSHA256 = lfsSHA256
        self.xetHash = xetHash
    }

    package var hash: HubContentHash { lfsSHA256.map { .sha256($0) } ?? .gitSHA1(gitOID) }
    /// Stored outside of git, served by redirect.
    package var isLFS: Bool { lfsSHA256 != nil }
}

/// How access to a repository is granted.
package enum HubGating: String, Sendable, Hashable {
    case open
    /// Granted to whoever asks.
    case automatic = "auto"
    /// Granted by a person.
    case manual
}

/// A revision resolved: everything later is asked for by its commit, so that a moving branch cannot mix two.
package struct HubCommit: Hashable, Sendable {
    /// Under its present name: a renamed repository answers with the new one.
    package let repository: RepositoryID
    /// As it was asked for.
    package let requested: RepositoryID
    package let revision: Revision
    package let sha: CommitID
    package let isPrivate: Bool
    package let gating: HubGating
    package let isDisabled: Bool
}

/// One branch, tag or other reference.
package struct HubReference: Hashable, Sendable {
    package let name: String
    /// In full, for example `refs/heads/main`.
    package let ref: String
    package let target: CommitID
}

/// The references of a repository.
package struct HubReferences: Hashable, Sendable {
    package let branches: [HubReference]
    package let tags: [HubReference]
    package let converts: [HubReference]
    package let pullRequests: [HubReference]
}
