import LinuxPlatform
import ObjectStorage

// Folders of hierarchical buckets, which are renamed whole, at once, instead of object by object.
//
// The tree has the new name already; each file below wants to be moved. When two names of such a move differ in a directory above,
// the folder is renamed, if it takes nobody along who is not to come, and nobody is in the way:
// - nothing under either prefix is under way; else everything below waits,
// - nothing is known to stand under the new prefix, and nothing of others under the old one,
// - at least two objects stand under the old one,
// - the bucket has not refused it before.
//
// While it is under way every name under both prefixes is busy. Afterwards all that is known of a name under the old one is known
// of the same name under the new one, tombstones too. What wants yet another name is moved from there. A refusal is remembered,
// and the files are moved one by one.
extension NameTable {
    /// A folder and the name that it is given, both without a slash behind.
    struct FolderPair: Hashable, Sendable {
        var from: ByteName
        var to: ByteName
    }

    enum FolderPlan: Hashable, Sendable {
        /// Later: something is under way below.
        case wait
        case rename(NameNode)
        /// Object by object.
        case no
    }

    /// Whether a request is under way for the name, or for a folder above it.
    func isBusy(_ name: ByteName) -> Bool { busyNames.contains(name) || isInTransit(name) }

    /// Whether a folder above the name is being renamed, or one above it is getting its name.
    func isInTransit(_ name: ByteName) -> Bool {
        busyFolders.contains { name.isBelow($0.from) || name.isBelow($0.to) }
    }

    /// What there is to do instead of a move; nil when that is the thing to do.
    mutating func folderRename(from old: ByteName, to new: ByteName) -> (plan: FolderPlan, pair: FolderPair)? {
        // What is parked is in a place of its own, and a name there may be a file's.
        guard renamesFolders, !old.value.utf8.starts(with: parking.utf8), let pair = Self.folders(from: old, to: new)
        else { return nil }
        if let plan = folderPlans[pair] { return (plan, pair) }
        let plan = plan(pair)
        folderPlans[pair] = plan
        return (plan, pair)
    }

    /// The directories in which two names differ; nil when it is in the last part, or one is the root.
    private static func folders(from old: ByteName, to new: ByteName) -> FolderPair? {
        var (left, right) = (old.segments, new.segments)
        var common = 0
        while let last = left.last, last == right.last {
            left.removeLast()
            right.removeLast()
            common += 1
        }
        guard common > 0, !left.isEmpty, !right.isEmpty else { return nil }
        func joined(_ names: [ByteName]) -> ByteName { ByteName(names.map(\.value).joined(separator: "/")) }
        return FolderPair(from: joined(left), to: joined(right))
    }

    private func plan(_ pair: FolderPair) -> FolderPlan {
        guard !refusedFolders.contains(pair), !pair.from.isBelow(pair.to), !pair.to.isBelow(pair.from),
            let node = tree.node(at: pair.to.segments), tree.isDirectory(node)
        else { return .no }
        var count = 0
        for (name, remote) in remotes.contents {
            if name.isBelow(pair.to) || name == pair.to || name == pair.from { return .no }
            guard name.isBelow(pair.from) else { continue }
            if remote.isForeign { return .no }
            // Who is to stay, or to go elsewhere, is not taken along: it would want to come back, and take these with it.
            if let holder = remote.holder, tree.isNamed(holder),
                tree.path(holder) != name.moved(from: pair.from, to: pair.to)
            {
                return .no
            }
            count += 1
        }
        guard count > 1 else { return .no }
        func touches(_ name: ByteName) -> Bool { name.isBelow(pair.from) || name.isBelow(pair.to) }
        let isUnderWay =
            busyNames.contains(where: touches)
            || busyFolders.contains { other in
                [other.from, other.to].contains { touches($0) || pair.from.isBelow($0) || pair.to.isBelow($0) }
                    || [other.from, other.to].contains { $0 == pair.from || $0 == pair.to }
            }
        return isUnderWay ? .wait : .rename(node)
    }

    mutating func beginFolder(_ pair: FolderPair) {
        busyFolders.insert(pair)
        folderPlans = [:]
    }

    mutating func finishedFolder(_ pair: FolderPair, _ outcome: NameOutcome) {
        busyFolders.remove(pair)
        folderPlans = [:]
        defer { touchFolder(pair) }
        guard case .done = outcome else {
            refusedFolders.insert(pair)
            return
        }
        for (name, remote) in remotes.contents where name.isBelow(pair.from) {
            let moved = name.moved(from: pair.from, to: pair.to)
            remotes[name] = nil
            remotes[moved] = remote
            changedNames.remove(name)
            changedNames.insert(moved)
            if let holder = remote.holder, files[holder]?.stands == name { files[holder]?.stands = moved }
        }
    }

    /// What waited for the folder is looked at again.
    private mutating func touchFolder(_ pair: FolderPair) {
        for (node, file) in files.contents {
            let names = [file.stands, tree.path(node)].compactMap { $0 }
            guard names.contains(where: { $0.isBelow(pair.from) || $0.isBelow(pair.to) }) else { continue }
            changedFiles.insert(node)
            files.touch(node)
        }
        for name in remotes.keys.filter({ $0.isBelow(pair.from) || $0.isBelow(pair.to) }) { changedNames.insert(name) }
    }

    /// An object has another generation than was known, under its name or with the folder that it moves with.
    mutating func regenerate(_ name: ByteName, _ generation: Generation) { remotes[name]?.generation = generation }
}

extension ByteName {
    /// Whether the path leads to something in the directory, or in one of its directories.
    func isBelow(_ directory: ByteName) -> Bool {
        let (path, start) = (value.utf8, directory.value.utf8)
        guard path.count > start.count + 1, path.starts(with: start) else { return false }
        return path[path.index(path.startIndex, offsetBy: start.count)] == UInt8(ascii: "/")
    }

    /// The path with another directory at its beginning.
    func moved(from directory: ByteName, to other: ByteName) -> ByteName {
        ByteName(other.value + String(decoding: value.utf8.dropFirst(directory.value.utf8.count), as: UTF8.self))
    }
}
