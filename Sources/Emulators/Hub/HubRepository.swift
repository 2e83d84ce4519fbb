import Checksums
import LinuxPlatform

/// Which name space a repository stands in.
package enum HubRepositoryKind: String, Sendable, Hashable, CaseIterable {
    case models
    case datasets
    case spaces

    /// What stands before the id in file URLs.
    var pagePrefix: String { self == .models ? "" : "\(rawValue)/" }
}

/// A repository by kind and id.
package struct HubRepositoryName: Sendable, Hashable {
    package var kind: HubRepositoryKind
    package var id: String

    package init(_ id: String, kind: HubRepositoryKind = .models) {
        self.kind = kind
        self.id = id
    }

    /// `models/acme/tiny`: the directory below the root, and the first part of media counters.
    var key: String { "\(kind.rawValue)/\(id)" }
}

/// One file of a commit, as the emulated Hub knows it.
struct HubEmulatedFile: Sendable {
    let path: String
    let size: Int
    /// Git's name of the content, or of the LFS pointer.
    let oid: SHA1Digest
    /// For files in LFS.
    let sha256: SHA256Digest?
    let absolutePath: String

    /// Git LFS specification, "The Pointer".
    static func pointer(_ sha256: SHA256Digest, size: Int) -> [UInt8] {
        Array("version https://git-lfs.github.com/spec/v1\noid sha256:\(sha256)\nsize \(size)\n".utf8)
    }

    var pointer: [UInt8]? { sha256.map { Self.pointer($0, size: size) } }
}

/// The files of one commit.
struct HubSnapshot: Sendable {
    let commit: String
    /// In byte order of paths.
    let files: [HubEmulatedFile]
    let directories: [(path: String, oid: SHA1Digest)]

    func file(_ path: String) -> HubEmulatedFile? { files.first { $0.path.utf8.elementsEqual(path.utf8) } }

    /// Hashes a directory's files.
    ///
    /// - Parameter commit: nil to derive it from the content.
    init(directory: String, commit: String?, hashes: FileHashes) throws(Errno) {
        let rule = LFSRule(gitAttributes: contents(of: "\(directory)/.gitattributes"))
        var files: [HubEmulatedFile] = []
        for file in walkedFiles(below: directory) {
            var sha256: SHA256Digest?
            if rule.holds(file.path, size: file.size) { sha256 = try hashes.sha256(of: file) }
            let oid =
                if let sha256 { SHA1Digest.ofGitBlob(HubEmulatedFile.pointer(sha256, size: file.size)) } else {
                    try hashes.gitBlob(of: file)
                }
            files.append(
                HubEmulatedFile(
                    path: file.path,
                    size: file.size,
                    oid: oid,
                    sha256: sha256,
                    absolutePath: file.absolutePath
                )
            )
        }
        let tree = GitTree(files.map { (path: $0.path, oid: $0.oid) })
        self.files = files
        directories = tree.directories.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        self.commit = commit ?? tree.commitID
    }
}

/// What is known of a repository besides its files: read from its `repo.json`, changed through the admin route.
package struct HubRepositorySettings: Sendable, Equatable {
    /// Commit ids and the directories that hold their files, relative to the repository's.
    package var commits: [String: String] = [:]
    package var branches: [String: String] = [:]
    package var tags: [String: String] = [:]
    /// `auto` or `manual`; nil for open.
    package var gated: String?
    package var isPrivate = false
    package var isDisabled = false
    /// Tokens that may read the files of a gated repository.
    package var readers: Set<String> = []
    /// Ids that redirect here.
    package var formerNames: Set<String> = []

    package init() {}

    /// Takes over the members that are there; `null` clears `gated`.
    mutating func merge(_ json: JSONValue) {
        merge(json["commits"], into: \.commits)
        merge(json["branches"], into: \.branches)
        merge(json["tags"], into: \.tags)
        switch json["gated"] {
        case .string(let word): gated = word
        case .null, .bool(false): gated = nil
        case .bool(true): gated = "manual"
        default: break
        }
        isPrivate = json["private"]?.flag ?? isPrivate
        isDisabled = json["disabled"]?.flag ?? isDisabled
        if let list = json["readers"]?.elements { readers = Set(list.compactMap(\.text)) }
        if let list = json["formerNames"]?.elements { formerNames = Set(list.compactMap(\.text)) }
    }

    private mutating func merge(_ json: JSONValue?, into path: WritableKeyPath<Self, [String: String]>) {
        for (name, value) in json?.members ?? [:] { self[keyPath: path][name] = value.text }
    }
}
