package import Checksums
import FoundationEssentials
import HTTPEngine
import ObjectStorage

/// One entry of the tree API's reply.
struct TreeEntry: Decodable {
    struct LFS: Decodable {
        var oid: String
        var size: Int
        var pointerSize: Int?
    }
    var type: String
    var oid: String
    var size: Int?
    var path: String
    var lfs: LFS?
    var xetHash: String?
}

/// Collects the pages of a listing and refuses what could not be stored as files, or contradicts itself.
struct TreeBuilder {
    private let subject: String
    private let limits: HubLimits
    private(set) var files: [HubFile] = []
    private var paths: Set<SafePath> = []
    private var directories: Set<SafePath> = []
    private var visited: Set<String> = []
    private var entries = 0
    private var lastPage = 0

    /// Entries of a full page, as the Hub's tree API sends them.
    private static let pageSize = 1000

    /// Whether the last page was full: then there was a next one, unless the listing happens to end just there.
    var mayBeCut: Bool { lastPage >= Self.pageSize }

    init(subject: String, limits: HubLimits) {
        self.subject = subject
        self.limits = limits
    }

    /// Marks a page as asked for.
    ///
    /// - Throws: `unusableListing` when it was before, or when there are too many.
    mutating func visit(_ url: String) throws(HubError) {
        guard visited.insert(url).inserted else { throw unusable("its pages go in a circle") }
        guard visited.count <= limits.treePages else { throw unusable("it has more than \(limits.treePages) pages") }
    }

    mutating func add(page body: [UInt8]) throws(HubError) {
        let page: [TreeEntry]
        do {
            page = try JSONDecoder().decode([TreeEntry].self, from: Data(body))
        } catch {
            throw HubError(.notAHub, "\(subject): the listing is not the JSON of a tree")
        }
        entries += page.count
        lastPage = page.count
        guard entries <= limits.treeEntries else { throw unusable("it has more than \(limits.treeEntries) entries") }
        for entry in page { try add(entry) }
    }

    private mutating func add(_ entry: TreeEntry) throws(HubError) {
        guard entry.type == "file" else {
            if entry.type == "directory" { try addDirectory(entry.path) }
            return
        }
        let path = try safePath(entry.path)
        guard paths.insert(path).inserted else { throw unusable("'\(shown(path))' stands in it twice") }
        if directories.contains(path) { throw unusable("'\(shown(path))' is both a file and a directory") }
        for directory in path.directories {
            let above = try safePath(directory)
            if paths.contains(above) { throw unusable("'\(shown(above))' is both a file and a directory") }
            directories.insert(above)
        }
        files.append(try file(entry, path))
    }

    private mutating func addDirectory(_ text: String) throws(HubError) {
        let path = try safePath(text)
        if paths.contains(path) { throw unusable("'\(shown(path))' is both a file and a directory") }
        directories.insert(path)
    }

    private func file(_ entry: TreeEntry, _ path: SafePath) throws(HubError) -> HubFile {
        guard let size = entry.size ?? entry.lfs?.size, (0...(1 << 50)).contains(size) else {
            throw unusable("'\(shown(path))' has no usable size")
        }
        guard let oid = SHA1Digest(hex: entry.oid) else { throw unusable("'\(shown(path))' has no git hash") }
        if let xet = entry.xetHash, !isLowercaseHex(xet, count: 64) {
            throw unusable("the Xet hash of '\(shown(path))' is not one")
        }
        var sha256: SHA256Digest?
        if let lfs = entry.lfs {
            sha256 = SHA256Digest(hex: lfs.oid)
            guard let sha256 else { throw unusable("'\(shown(path))' has no SHA-256") }
            guard lfs.size == size else {
                throw unusable("'\(shown(path))' has two sizes, \(size) and \(lfs.size)")
            }
            try checkPointer(lfs, sha256, oid, path)
        }
        return HubFile(path: path, size: size, gitOID: oid, lfsSHA256: sha256, xetHash: entry.xetHash)
    }

    /// The git hash of an LFS entry is that of its pointer, whose text is known: SHA-256 and size are bound to the tree.
    private func checkPointer(
        _ lfs: TreeEntry.LFS,
        _ sha256: SHA256Digest,
        _ oid: SHA1Digest,
        _ path: SafePath
    ) throws(HubError) {
        let pointer = Array(LFSPointer.text(sha256: sha256, size: lfs.size).utf8)
        guard lfs.pointerSize == pointer.count else { return }
        guard SHA1Digest.ofGitBlob(pointer) == oid else {
            throw HubError(
                .integrity,
                "\(subject): the listing of '\(shown(path))' contradicts itself: its git hash is not that of its SHA-256"
            )
        }
    }

    private func safePath(_ text: String) throws(HubError) -> SafePath {
        do throws(ObjectStoreError) {
            return try SafePath(text)
        } catch {
            throw unusable(error.message)
        }
    }

    private func shown(_ path: SafePath) -> String { printable(path.value, limit: 200) }
    private func unusable(_ why: String) -> HubError {
        HubError(.unusableListing, "\(subject): the listing is refused: \(why)")
    }
}

/// The text that stands in git in place of a large file.
///
/// Source: Git LFS specification, "The Pointer".
package enum LFSPointer {
    static let magic = Array("version https://git-lfs.github.com/spec/v1".utf8)

    package static func text(sha256: SHA256Digest, size: Int) -> String {
        "version https://git-lfs.github.com/spec/v1\noid sha256:\(sha256)\nsize \(size)\n"
    }

    static func isPointer(_ body: [UInt8]) -> Bool { body.starts(with: magic) }
}

/// The target of `rel="next"` in `Link` headers (RFC 8288); nil when there is none.
func nextLink(_ headers: HTTPHeaders) -> String? {
    for value in headers.all("link") where value.utf8.count <= 16_384 {
        var rest = Array(value.utf8)[...]
        while let open = rest.firstIndex(of: 0x3C), let close = rest[open...].firstIndex(of: 0x3E) {
            let target = String(decoding: rest[(open + 1)..<close], as: UTF8.self)
            let after = rest[(close + 1)...]
            // Parameters go up to the next link; a comma inside quotes does not occur in rel.
            let end = after.firstIndex(of: 0x2C) ?? after.endIndex
            let parameters = String(decoding: after[..<end], as: UTF8.self).split(separator: ";").map(trimmed)
            if parameters.contains(where: isNextRelation) { return target }
            rest = after[end...]
        }
    }
    return nil
}

private func isNextRelation(_ parameter: String) -> Bool {
    let lowered = parameter.lowercased()
    return lowered == "rel=\"next\"" || lowered == "rel=next"
}
