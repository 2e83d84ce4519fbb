import LinuxPlatform
import ObjectStorage

/// The names of all objects below a directory, in byte order, read as far as somebody asks.
///
/// Directories that cannot hold a name of the listing are not opened, so a page of a large tree costs what it shows.
final class TreeWalk: Sequence, IteratorProtocol {
    private struct Level {
        /// Empty, or ending in `/`.
        let path: String
        /// In descending order: the next is the last.
        var entries: [(key: String, isDirectory: Bool)]
    }

    private let store: StoreDirectory
    private let request: ListRequest
    /// No name below this one is wanted.
    private let lowerBound: String
    private var levels: [Level] = []
    /// What stopped the walk, if anything did.
    private(set) var failure: Errno?

    init(_ store: StoreDirectory, _ request: ListRequest) {
        self.store = store
        self.request = request
        // A page token is the last entry shown, after two characters (see `ListRequest.cut`).
        let last = request.pageToken.map { String($0.dropFirst(2)) } ?? ""
        let start = request.startOffset ?? ""
        lowerBound = start.utf8.lexicographicallyPrecedes(last.utf8) ? last : start
        push("")
    }

    func next() -> ObjectName? {
        while let top = levels.indices.last {
            guard let entry = levels[top].entries.popLast() else {
                levels.removeLast()
                continue
            }
            let path = levels[top].path + entry.key
            if entry.isDirectory {
                if isWanted(directory: path) { push(path) }
            } else if !path.utf8.lexicographicallyPrecedes(lowerBound.utf8), let local = LocalPath(file: path) {
                skipRest(after: path)
                return local.name
            }
        }
        return nil
    }

    /// With `/` as the delimiter, one name is enough to know that a directory is not empty.
    private func skipRest(after path: String) {
        guard request.delimiter == "/" else { return }
        let below = path.utf8.dropFirst(request.prefix.utf8.count)
        guard let slash = below.firstIndex(of: 0x2F) else { return }
        // A later page may begin inside of a directory: its token is the directory then, and `cut` skips it.
        let prefix = path[...slash]
        levels.removeAll { $0.path.utf8.starts(with: prefix.utf8) }
    }

    private func isWanted(directory: String) -> Bool {
        let bytes = directory.utf8
        guard bytes.starts(with: request.prefix.utf8) || request.prefix.utf8.starts(with: bytes) else { return false }
        // All names in it are below the bound unless the bound is before it or inside of it.
        return !bytes.lexicographicallyPrecedes(lowerBound.utf8) || lowerBound.utf8.starts(with: bytes)
    }

    private func push(_ path: String) {
        if failure != nil { return }
        do throws(Errno) {
            let entries = try read(path)
            levels.append(Level(path: path, entries: entries))
        } catch {
            // It went while we were walking, or is none of ours to read.
            if error != .noEntry, error != .notDirectory { failure = error }
        }
    }

    private func read(_ path: String) throws(Errno) -> [(key: String, isDirectory: Bool)] {
        let directory = try open(path)
        var entries: [(key: String, isDirectory: Bool)] = []
        for entry in try directory.entries() {
            if path.isEmpty, entry.name == LocalPath.hiddenDirectory { continue }
            let kind: FileStatus.Kind
            if let known = entry.kind {
                kind = known
            } else if let status = try? directory.status(of: entry.name) {
                kind = status.kind
            } else {
                continue
            }
            switch kind {
            case .regular: entries.append((entry.name, false))
            case .directory: entries.append((entry.name + "/", true))
            case .symbolicLink, .other: break
            }
        }
        return entries.sorted { $1.key.utf8.lexicographicallyPrecedes($0.key.utf8) }
    }

    private func open(_ path: String) throws(Errno) -> FileDescriptor {
        guard let below = LocalPath(file: path + "x") else {
            if path.isEmpty { return try store.root.directory(".") }
            throw .noEntry
        }
        return try store.parent(of: below)
    }
}
