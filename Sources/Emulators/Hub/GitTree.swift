import Checksums

/// A directory as git stores it, for object names of directories and for a commit id that follows from the content.
///
/// Source: git's documentation, "Git Internals: Git Objects": `<mode> <name>\0<20 bytes>` per entry, in byte order of the
/// names, those of directories taken with a closing `/`.
struct GitTree {
    private var blobs: [String: SHA1Digest] = [:]
    private var trees: [String: GitTree] = [:]

    /// - Parameter files: paths with the object names of their blobs.
    init(_ files: [(path: String, oid: SHA1Digest)]) {
        for file in files { insert(file.path.split(separator: "/").map(String.init)[...], file.oid) }
    }

    private mutating func insert(_ path: ArraySlice<String>, _ oid: SHA1Digest) {
        guard let name = path.first else { return }
        if path.count == 1 {
            blobs[name] = oid
        } else {
            trees[name, default: GitTree([])].insert(path.dropFirst(), oid)
        }
    }

    /// The object name.
    var oid: SHA1Digest {
        var entries = blobs.map { (key: Array($0.key.utf8), mode: "100644", name: $0.key, oid: $0.value) }
        entries += trees.map { (key: Array($0.key.utf8) + [0x2F], mode: "40000", name: $0.key, oid: $0.value.oid) }
        var body: [UInt8] = []
        for entry in entries.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            body += "\(entry.mode) \(entry.name)\0".utf8
            body += entry.oid.bytes
        }
        return SHA1Digest.of(Array("tree \(body.count)\0".utf8) + body)
    }

    /// The object names of all directories below, by path.
    var directories: [(path: String, oid: SHA1Digest)] {
        trees.flatMap { name, tree in
            [(path: name, oid: tree.oid)] + tree.directories.map { (path: "\(name)/\($0.path)", oid: $0.oid) }
        }
    }

    /// The id of a parentless commit of this tree by a fixed author at a fixed time: equal contents have equal ids.
    var commitID: String {
        let who = "Penstock emulator <emulator@localhost> 1741268264 +0000"
        let body = "tree \(oid.hex)\nauthor \(who)\ncommitter \(who)\n\nUpload\n"
        return SHA1Digest.of(Array("commit \(body.utf8.count)\0\(body)".utf8)).hex
    }
}
