import Glibc
package import LinuxPlatform

/// A file or a directory of a `NameTable`, for as long as that lives; never used again.
package struct NameNode: Hashable, Comparable, Sendable {
    /// 0 for the root; others in the order in which they were made.
    package let number: Int

    package init(number: Int) { self.number = number }

    package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
}

/// Directories and what they hold, with the rules of the kernel: rename(2), unlink(2), mkdir(2), rmdir(2).
package struct NameTree: Sendable {
    struct Entry: Hashable, Sendable {
        var parent: NameNode?
        var name: ByteName
        /// Where the name stands in listings of its directory: later names have larger numbers, none is used again.
        var cookie: Int
        /// Nil for a file.
        var children: [ByteName: NameNode]?
    }

    package let root = NameNode(number: 0)
    private(set) var entries: [NameNode: Entry]
    private(set) var last = 0
    private(set) var lastCookie = 0

    package init() { entries = [root: Entry(parent: nil, name: "", cookie: 0, children: [:])] }

    /// - Throws: `noEntry`, `notDirectory`.
    package func child(_ name: ByteName, of directory: NameNode) throws(Errno) -> NameNode {
        guard let node = try children(of: directory)[name] else { throw .noEntry }
        return node
    }

    /// - Throws: `noEntry`, `notDirectory`.
    package func children(of directory: NameNode) throws(Errno) -> [ByteName: NameNode] {
        guard let entry = entries[directory] else { throw .noEntry }
        guard let children = entry.children else { throw .notDirectory }
        return children
    }

    package func isDirectory(_ node: NameNode) -> Bool { entries[node]?.children != nil }

    /// Whether it has a path: what it stands in has one, as only empty directories lose theirs.
    package func isNamed(_ node: NameNode) -> Bool { node == root || entries[node]?.parent != nil }

    /// What stands where the names lead from the root; nil for nothing.
    func node(at names: some Sequence<ByteName>) -> NameNode? {
        var node = root
        for name in names {
            guard let next = entries[node]?.children?[name] else { return nil }
            node = next
        }
        return node
    }

    /// The directory directly below the root that it is in; nil for what is in none.
    func top(of node: NameNode) -> NameNode? {
        var current = node
        while let parent = entries[current]?.parent {
            if parent == root { return current == node ? nil : current }
            current = parent
        }
        return nil
    }

    /// The path below the root, without a slash before it; nil for what has no name any more.
    package func path(_ node: NameNode) -> ByteName? { path(node, below: root) }

    /// The path below a directory that it is in; nil when it is in another, or has no name.
    func path(_ node: NameNode, below directory: NameNode) -> ByteName? {
        var names: [String] = []
        var current = node
        while current != directory {
            guard let entry = entries[current], let parent = entry.parent else { return nil }
            names.append(entry.name.value)
            current = parent
        }
        return ByteName(names.reversed().joined(separator: "/"))
    }

    /// The files that are the node, or below it.
    package func files(below node: NameNode) -> [NameNode] {
        guard let entry = entries[node] else { return [] }
        guard let children = entry.children else { return [node] }
        return children.values.sorted().flatMap { files(below: $0) }
    }

    /// The directories that are the node, or below it.
    func directories(below node: NameNode) -> [NameNode] {
        guard let children = entries[node]?.children else { return [] }
        return [node] + children.values.sorted().flatMap { directories(below: $0) }
    }

    /// Makes an empty file or directory.
    ///
    /// - Parameter cookie: where the same name stood until now in listings; nil when it is new.
    /// - Throws: `exists`, `noEntry`, `notDirectory`.
    package mutating func make(
        _ name: ByteName,
        in directory: NameNode,
        isDirectory: Bool,
        cookie: Int? = nil
    ) throws(Errno) -> NameNode {
        guard try children(of: directory)[name] == nil else { throw .exists }
        last += 1
        let node = NameNode(number: last)
        let cookie = cookie ?? lastCookie + 1
        lastCookie = max(lastCookie, cookie)
        entries[node] = Entry(parent: directory, name: name, cookie: cookie, children: isDirectory ? [:] : nil)
        entries[directory]?.children?[name] = node
        return node
    }

    /// Takes the name of a file away. The node stays until `forget`.
    ///
    /// - Throws: `isDirectory`, `noEntry`, `notDirectory`.
    package mutating func unlink(_ name: ByteName, in directory: NameNode) throws(Errno) -> NameNode {
        let node = try child(name, of: directory)
        if isDirectory(node) { throw .isDirectory }
        detach(node)
        return node
    }

    /// - Throws: `ENOTEMPTY`, `noEntry`, `notDirectory`.
    package mutating func removeDirectory(_ name: ByteName, in directory: NameNode) throws(Errno) {
        let node = try child(name, of: directory)
        guard try children(of: node).isEmpty else { throw Errno(ENOTEMPTY) }
        detach(node)
        entries[node] = nil
    }

    /// Gives what has a name another, in the same directory or not.
    ///
    /// - Parameter replaces: false for RENAME_NOREPLACE.
    /// - Returns: what moved, and the file that lost its name to it.
    /// - Throws: as rename(2); then nothing has changed.
    package mutating func rename(
        _ name: ByteName,
        in directory: NameNode,
        to newName: ByteName,
        in newDirectory: NameNode,
        replaces: Bool
    ) throws(Errno) -> (moved: NameNode, replaced: NameNode?) {
        let node = try child(name, of: directory)
        let target = try children(of: newDirectory)[newName]
        if isDirectory(node) {
            var above: NameNode? = newDirectory
            while let current = above {
                if current == node { throw .invalidArgument }
                above = entries[current]?.parent
            }
        }
        // A name that stays keeps its place: whoever reads the directory has seen it, or will.
        var cookie = lastCookie + 1
        if let target {
            if !replaces { throw .exists }
            if target == node { return (node, nil) }
            switch (isDirectory(node), isDirectory(target)) {
            case (true, false): throw .notDirectory
            case (false, true): throw .isDirectory
            case (true, true): if try !children(of: target).isEmpty { throw Errno(ENOTEMPTY) }
            case (false, false): break
            }
            cookie = entries[target]?.cookie ?? cookie
            detach(target)
            if isDirectory(target) { entries[target] = nil }
        }
        detach(node)
        entries[node]?.parent = newDirectory
        entries[node]?.name = newName
        entries[node]?.cookie = cookie
        lastCookie = max(lastCookie, cookie)
        entries[newDirectory]?.children?[newName] = node
        return (node, target.flatMap { entries[$0] == nil ? nil : $0 })
    }

    private mutating func detach(_ node: NameNode) {
        guard let entry = entries[node], let parent = entry.parent else { return }
        entries[parent]?.children?[entry.name] = nil
        entries[node]?.parent = nil
    }

    /// Puts a node of a checkpoint where it was. Directories come before what they hold.
    ///
    /// - Throws: `invalidArgument` when it does not fit what is there.
    mutating func restore(_ node: NameNode, _ entry: Entry) throws(Errno) {
        guard node != root, entries[node] == nil else { throw .invalidArgument }
        if let parent = entry.parent {
            guard let siblings = entries[parent]?.children, siblings[entry.name] == nil else { throw .invalidArgument }
            entries[parent]?.children?[entry.name] = node
        }
        var restored = entry
        restored.children = entry.children == nil ? nil : [:]
        entries[node] = restored
        last = max(last, node.number)
        lastCookie = max(lastCookie, entry.cookie)
    }

    /// No node, and no name in a listing, gets a number up to these any more.
    mutating func skip(to number: Int, cookie: Int) {
        last = max(last, number)
        lastCookie = max(lastCookie, cookie)
    }

    /// Every node but the root, parents before what they hold.
    var ordered: [(node: NameNode, entry: Entry)] {
        var result: [(node: NameNode, entry: Entry)] = []
        for (node, entry) in entries.sorted(by: { $0.key < $1.key }) where entry.parent == nil && node != root {
            result.append((node, entry))
        }
        var directories = [root]
        while let directory = directories.popLast() {
            for child in (entries[directory]?.children ?? [:]).values.sorted() {
                guard let entry = entries[child] else { continue }
                result.append((child, entry))
                if entry.children != nil { directories.append(child) }
            }
        }
        return result
    }

    /// Drops a file that has no name.
    package mutating func forget(_ node: NameNode) {
        if entries[node]?.parent == nil, node != root { entries[node] = nil }
    }
}
