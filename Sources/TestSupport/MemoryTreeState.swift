import Glibc
import LinuxPlatform
import WriteBack

/// The files of a `MemoryTree`, each as plain as can be. What POSIX says stands here and nowhere else.
struct MemoryTreeState {
    /// A name is its bytes.
    private struct Name: Hashable {
        let bytes: [UInt8]
        init(_ name: String) { bytes = Array(name.utf8) }
        var text: String { String(decoding: bytes, as: UTF8.self) }
    }

    private struct Entry {
        var node: TreeNode
        var cookie: UInt64
    }

    private struct Node {
        var attributes: TreeAttributes
        /// Of what has a name.
        var parent: TreeNode?
        var children: [Name: Entry] = [:]
        /// Up to the last byte that was written; then zeros, up to the size.
        var bytes: [UInt8] = []
        var target = ""
        var extended: [String: [UInt8]] = [:]
        var handles: [OpenMode: Int] = [:]
        var lookups: UInt64 = 0
    }

    private static let maximumSize = 1 << 30
    private static let maximumExtended = 64 << 10

    private var nodes: [TreeNode: Node] = [:]
    private var last = TreeNode.root.number
    private var lastCookie: UInt64 = 0

    /// - Parameter owner: of the root.
    init(owner: TreeRequest, now: UnixTime) {
        let attributes = Self.attributes(.root, .directory, mode: 0o755, owner, now)
        nodes[.root] = Node(attributes: attributes, parent: .root)
    }

    private static func attributes(
        _ node: TreeNode,
        _ kind: TreeKind,
        mode: UInt16,
        _ owner: TreeRequest,
        _ now: UnixTime
    ) -> TreeAttributes {
        TreeAttributes(
            node: node,
            kind: kind,
            size: 0,
            mode: kind == .directory ? mode & 0o7777 : mode & 0o777,
            user: owner.user,
            group: owner.group,
            accessed: now,
            modified: now,
            changed: now
        )
    }

    // MARK: What tests look at

    var openHandles: Int { nodes.values.reduce(0) { $0 + $1.handles.values.reduce(0, +) } }
    var nodeCount: Int { nodes.count }

    // MARK: Names

    private func node(_ number: TreeNode) throws(Errno) -> Node {
        guard let node = nodes[number] else { throw .stale }
        return node
    }

    private func directory(_ number: TreeNode) throws(Errno) -> Node {
        let node = try node(number)
        guard node.attributes.kind == .directory else { throw .notDirectory }
        return node
    }

    private func child(_ name: String, of directory: TreeNode) throws(Errno) -> TreeNode {
        guard let entry = try self.directory(directory).children[Name(name)] else { throw .noEntry }
        return entry.node
    }

    func attributes(_ number: TreeNode) throws(Errno) -> TreeAttributes { try node(number).attributes }

    mutating func lookup(_ name: String, in directory: TreeNode) throws(Errno) -> TreeAttributes? {
        guard let entry = try self.directory(directory).children[Name(name)] else { return nil }
        remember(entry.node)
        return try attributes(entry.node)
    }

    mutating func remember(_ number: TreeNode) { nodes[number]?.lookups += 1 }

    mutating func forget(_ number: TreeNode, _ count: UInt64) {
        guard let lookups = nodes[number]?.lookups else { return }
        nodes[number]?.lookups = lookups - min(lookups, count)
        dropIfUnused(number)
    }

    private mutating func dropIfUnused(_ number: TreeNode) {
        guard let node = nodes[number], node.parent == nil, node.lookups == 0, node.handles.isEmpty else { return }
        nodes[number] = nil
    }

    /// Makes something new, and counts one lookup.
    mutating func make(
        _ kind: TreeKind,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        target: String = "",
        _ owner: TreeRequest,
        _ now: UnixTime
    ) throws(Errno) -> TreeAttributes {
        let parent = try self.directory(directory)
        if parent.parent == nil { throw .noEntry }
        if parent.children[Name(name)] != nil { throw .exists }
        last += 1
        let number = TreeNode(number: last)
        var attributes = Self.attributes(number, kind, mode: mode, owner, now)
        // Source: mkdir(2), open(2): the set-group-ID bit of the directory.
        if parent.attributes.mode & 0o2000 != 0 {
            attributes.group = parent.attributes.group
            if kind == .directory { attributes.mode |= 0o2000 }
        }
        if kind == .link { attributes.size = target.utf8.count }
        nodes[number] = Node(attributes: attributes, parent: nil, target: target, lookups: 1)
        enter(number, name, in: directory, now)
        return attributes
    }

    /// A name that stands already keeps its cookie.
    private mutating func enter(_ number: TreeNode, _ name: String, in directory: TreeNode, _ now: UnixTime) {
        lastCookie += 1
        let cookie = nodes[directory]?.children[Name(name)]?.cookie ?? lastCookie
        nodes[directory]?.children[Name(name)] = Entry(node: number, cookie: cookie)
        nodes[number]?.parent = directory
        nodes[number]?.attributes.isNamed = true
        nodes[number]?.attributes.changed = now
        touch(directory, now)
    }

    private mutating func touch(_ number: TreeNode, _ now: UnixTime) {
        nodes[number]?.attributes.modified = now
        nodes[number]?.attributes.changed = now
    }

    private mutating func loseName(_ number: TreeNode, _ now: UnixTime) {
        nodes[number]?.parent = nil
        nodes[number]?.attributes.isNamed = false
        nodes[number]?.attributes.changed = now
        dropIfUnused(number)
    }

    func target(_ number: TreeNode) throws(Errno) -> String {
        let node = try node(number)
        guard node.attributes.kind == .link else { throw .invalidArgument }
        return node.target
    }

    mutating func unlink(_ name: String, in directory: TreeNode, _ now: UnixTime) throws(Errno) {
        let number = try child(name, of: directory)
        if try node(number).attributes.kind == .directory { throw .isDirectory }
        nodes[directory]?.children[Name(name)] = nil
        touch(directory, now)
        loseName(number, now)
    }

    mutating func removeDirectory(_ name: String, in directory: TreeNode, _ now: UnixTime) throws(Errno) {
        let number = try child(name, of: directory)
        guard try self.directory(number).children.isEmpty else { throw Errno(ENOTEMPTY) }
        nodes[directory]?.children[Name(name)] = nil
        touch(directory, now)
        loseName(number, now)
    }

    mutating func rename(
        _ name: String,
        in directory: TreeNode,
        to newName: String,
        in newDirectory: TreeNode,
        _ rule: RenameRule,
        _ now: UnixTime
    ) throws(Errno) {
        let moved = try child(name, of: directory)
        let isDirectory = try node(moved).attributes.kind == .directory
        let target = try self.directory(newDirectory)
        if target.parent == nil { throw .noEntry }
        if isDirectory, isAt(newDirectory, orBelow: moved) { throw .invalidArgument }
        let replaced = target.children[Name(newName)]?.node
        if let replaced {
            if rule == .keep { throw .exists }
            if replaced == moved { return }
            let other = try node(replaced)
            let isOtherDirectory = other.attributes.kind == .directory
            if isDirectory, !isOtherDirectory { throw .notDirectory }
            if !isDirectory, isOtherDirectory { throw .isDirectory }
            if !other.children.isEmpty { throw Errno(ENOTEMPTY) }
        }
        nodes[directory]?.children[Name(name)] = nil
        touch(directory, now)
        enter(moved, newName, in: newDirectory, now)
        if let replaced { loseName(replaced, now) }
    }

    private func isAt(_ number: TreeNode, orBelow above: TreeNode) -> Bool {
        var current = number
        while current != above {
            guard current != .root, let parent = nodes[current]?.parent else { return false }
            current = parent
        }
        return true
    }

    func list(_ number: TreeNode, after cookie: UInt64, limit: Int) throws(Errno) -> TreeListing {
        let directory = try directory(number)
        let rest = directory.children.filter { $0.value.cookie > cookie }.sorted { $0.value.cookie < $1.value.cookie }
        var lines: [TreeListing.Line] = []
        for (name, entry) in rest.prefix(limit) {
            lines.append(.init(name: name.text, cookie: entry.cookie, attributes: try attributes(entry.node)))
        }
        return TreeListing(lines: lines, parent: directory.parent ?? .root, validUntil: .distantFuture)
    }

    // MARK: Attributes

    mutating func change(
        _ number: TreeNode,
        _ changes: AttributeChanges,
        _ now: UnixTime
    ) throws(Errno) -> TreeAttributes {
        func moment(_ time: AttributeChanges.Time) -> UnixTime {
            switch time {
            case .now: now
            case .at(let time): time
            }
        }
        let node = try node(number)
        var attributes = node.attributes
        if let size = changes.size {
            if attributes.kind == .directory { throw .isDirectory }
            guard attributes.kind == .file, size >= 0 else { throw .invalidArgument }
            attributes.size = size
            attributes.modified = now
            nodes[number]?.bytes.removeLast(max(0, node.bytes.count - size))
        }
        if let mode = changes.mode { attributes.mode = attributes.kind == .directory ? mode & 0o7777 : mode & 0o777 }
        if let user = changes.user { attributes.user = user }
        if let group = changes.group { attributes.group = group }
        if let time = changes.accessed { attributes.accessed = moment(time) }
        if let time = changes.modified { attributes.modified = moment(time) }
        attributes.changed = now
        nodes[number]?.attributes = attributes
        return attributes
    }

    func extended(_ number: TreeNode) throws(Errno) -> [String: [UInt8]] { try node(number).extended }

    /// - Parameter value: nil removes it.
    mutating func setExtended(
        _ number: TreeNode,
        _ name: String,
        _ value: [UInt8]?,
        _ rule: ExtendedAttributeRule,
        _ now: UnixTime
    ) throws(Errno) {
        var all = try node(number).extended
        if rule == .create, all[name] != nil { throw .exists }
        if rule == .replace || value == nil, all[name] == nil { throw .noData }
        all[name] = value
        guard all.reduce(0, { $0 + $1.key.utf8.count + $1.value.count }) <= Self.maximumExtended else { throw .noSpace }
        nodes[number]?.extended = all
        nodes[number]?.attributes.changed = now
    }

    // MARK: Files

    /// - Returns: what is open now.
    mutating func open(_ number: TreeNode, _ mode: OpenMode, truncates: Bool, _ now: UnixTime) throws(Errno) {
        switch try node(number).attributes.kind {
        case .directory: throw .isDirectory
        case .link: throw Errno(ELOOP)
        case .file: break
        }
        if truncates {
            var changes = AttributeChanges()
            changes.size = 0
            _ = try change(number, changes, now)
        }
        nodes[number]?.handles[mode, default: 0] += 1
    }

    mutating func release(_ handle: TreeHandle) throws(Errno) {
        guard let count = nodes[handle.node]?.handles[handle.mode] else { throw Errno(EBADF) }
        nodes[handle.node]?.handles[handle.mode] = count > 1 ? count - 1 : nil
        dropIfUnused(handle.node)
    }

    private func open(_ handle: TreeHandle, for mode: OpenMode) throws(Errno) -> Node {
        let node = try node(handle.node)
        guard handle.mode.contains(mode), node.handles[handle.mode] != nil else { throw Errno(EBADF) }
        return node
    }

    func read(_ handle: TreeHandle, at offset: Int, count: Int) throws(Errno) -> [UInt8] {
        // The kernel reads before it writes a part of a page: then also through handles that only write.
        let node = try open(handle, for: [])
        guard offset < node.attributes.size else { return [] }
        let end = offset + min(count, node.attributes.size - offset)
        let there = node.bytes[min(offset, node.bytes.count)..<min(end, node.bytes.count)]
        return there + [UInt8](repeating: 0, count: end - offset - there.count)
    }

    mutating func write(
        _ handle: TreeHandle,
        _ bytes: [UInt8],
        at offset: Int,
        _ now: UnixTime
    ) throws(Errno) {
        let node = try open(handle, for: .write)
        guard offset <= Self.maximumSize - bytes.count else { throw Errno(EFBIG) }
        let end = offset + bytes.count
        if node.bytes.count < end {
            nodes[handle.node]?.bytes += [UInt8](repeating: 0, count: end - node.bytes.count)
        }
        nodes[handle.node]?.bytes.replaceSubrange(offset..<end, with: bytes)
        nodes[handle.node]?.attributes.size = max(node.attributes.size, end)
        touch(handle.node, now)
    }

    mutating func allocate(
        _ handle: TreeHandle,
        _ range: Range<Int>,
        growsFile: Bool,
        _ now: UnixTime
    ) throws(Errno) {
        let node = try open(handle, for: .write)
        guard range.upperBound <= Self.maximumSize else { throw Errno(EFBIG) }
        guard growsFile, range.upperBound > node.attributes.size else { return }
        nodes[handle.node]?.attributes.size = range.upperBound
        touch(handle.node, now)
    }

    func check(_ handle: TreeHandle) throws(Errno) { _ = try open(handle, for: []) }
}
