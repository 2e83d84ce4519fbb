/// Which directories somebody who walks through a tree will open next: decided from the opens alone, without I/O.
///
/// `ls -R`, `find` and what copies trees open every directory once, parents before what is in them, and go on with the
/// next one in the order of names, or nearly. When an open follows from an earlier one like that, the next `ahead`
/// directories in this order are wished for: two at first, twice as many at each further step, at most `maximumAhead`.
/// Opens that lead nowhere cost nothing; a path that is only resolved opens no directory. Several walks at once are told
/// apart.
struct DirectoryWalk: Sendable {
    /// What is known of a directory.
    struct Known {
        /// Names of the directories in it, in the order of their bytes.
        var directories: [EntryName]
        /// Nothing newer need be asked for, or it is being asked for.
        var isCurrent: Bool
    }

    private struct Cursor {
        /// The directory that was opened last.
        var path: String
        var ahead = 0
        var lastUse: Int
    }

    static let maximumAhead = 32
    static let maximumCursors = 4

    private var cursors: [Cursor] = []
    private var clock = 0

    /// A directory was opened.
    ///
    /// - Parameters:
    ///   - path: names parted by `/`; empty for the root.
    ///   - known: what is known of a directory; nil for nothing.
    /// - Returns: directories to ask for now, the next one first.
    mutating func opened(_ path: String, known: (String) -> Known?) -> [String] {
        clock += 1
        guard
            let index = cursors.indices.filter({ Self.isStep(from: cursors[$0].path, to: path) })
                .max(by: { cursors[$0].lastUse < cursors[$1].lastUse })
        else {
            begin(path)
            return []
        }
        cursors[index].path = path
        cursors[index].lastUse = clock
        cursors[index].ahead = min(max(cursors[index].ahead * 2, 2), Self.maximumAhead)
        let limit = cursors[index].ahead
        return withoutActuallyEscaping(known) { known in
            var next = Upcoming(limit: limit, known: known)
            next.visit(after: path)
            return next.wishes
        }
    }

    private mutating func begin(_ path: String) {
        // A directory that is opened again and again is one cursor.
        cursors.removeAll { $0.path.utf8.elementsEqual(path.utf8) }
        if cursors.count == Self.maximumCursors,
            let oldest = cursors.indices.min(by: { cursors[$0].lastUse < cursors[$1].lastUse })
        {
            cursors.remove(at: oldest)
        }
        cursors.append(Cursor(path: path, lastUse: clock))
    }

    /// Whether a walk that was at `last` may come to `path` next: into it, or beside it or something above it.
    static func isStep(from last: String, to path: String) -> Bool {
        guard !path.isEmpty, !path.utf8.elementsEqual(last.utf8) else { return false }
        let parent = split(path).parent
        return parent.isEmpty
            || last.utf8.starts(with: parent.utf8)
                && (last.utf8.count == parent.utf8.count || last.utf8.dropFirst(parent.utf8.count).first == 0x2F)
    }

    /// The directory above, and the name in it.
    static func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return ("", path) }
        return (String(path[..<slash]), String(path[path.utf8.index(after: slash)...]))
    }

    static func join(_ parent: String, _ name: EntryName) -> String {
        parent.isEmpty ? name.value : parent + "/" + name.value
    }
}

/// Goes through a tree in the order of a walk, as far as it is known, and notes what is to be asked for.
private struct Upcoming {
    let limit: Int
    let known: (String) -> DirectoryWalk.Known?
    private(set) var wishes: [String] = []
    private var visited = 0

    init(limit: Int, known: @escaping (String) -> DirectoryWalk.Known?) {
        self.limit = limit
        self.known = known
    }

    /// What comes behind a directory that is open: what is in it, then what stands behind it, and behind what it is in.
    mutating func visit(after path: String) {
        visit(known(path)?.directories[...] ?? [], in: path)
        var current = path
        while !current.isEmpty, visited < limit {
            let (parent, name) = DirectoryWalk.split(current)
            if let beside = known(parent)?.directories, let name = EntryName(name) {
                visit(beside[Self.index(behind: name, in: beside)...], in: parent)
            }
            current = parent
        }
    }

    private mutating func visit(_ names: ArraySlice<EntryName>, in parent: String) {
        for name in names {
            guard visited < limit else { return }
            visited += 1
            let path = DirectoryWalk.join(parent, name)
            guard let below = known(path) else {
                wishes.append(path)
                continue
            }
            if !below.isCurrent { wishes.append(path) }
            visit(below.directories[...], in: path)
        }
    }

    private static func index(behind name: EntryName, in names: [EntryName]) -> Int {
        var (low, high) = (0, names.count)
        while low < high {
            let middle = (low + high) / 2
            if name < names[middle] { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
