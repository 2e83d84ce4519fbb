import LinuxPlatform
import ObjectStorage

// What became of requests, and what the bucket is known to have since.
extension NameTable {
    package mutating func finished(_ action: NameAction, _ outcome: NameOutcome) {
        touchHolders(action)
        defer { touchHolders(action) }
        switch action {
        case .publish(let node, let content, let name, _):
            busyNames.remove(name)
            written(node, content, name, outcome)
        case .move(let node, let content, let source, _, let name, _):
            busyNames.subtract([source, name])
            if case .done = outcome { remotes[source] = nil }
            if case .sourceGone = outcome { sourceIsGone(node, source) }
            written(node, content, name, outcome)
            changedNames.insert(source)
        case .keep(let node, let content, let source, _, let name):
            busyNames.subtract([source, name])
            kept(node, content, source, name, outcome)
        case .delete(let name, let generation):
            busyNames.remove(name)
            if case .done = outcome, remotes[name]?.generation == generation { remotes[name] = nil }
            changedNames.insert(name)
        case .renameFolder(_, let from, let to): finishedFolder(FolderPair(from: from, to: to), outcome)
        }
    }

    /// Files that stand under the names of a request may have waited for it.
    private mutating func touchHolders(_ action: NameAction) {
        let names: [ByteName] =
            switch action {
            case .publish(_, _, let name, _), .delete(let name, _): [name]
            case .move(_, _, let source, _, let name, _), .keep(_, _, let source, _, let name): [source, name]
            case .renameFolder: []
            }
        for name in names {
            if let holder = remotes[name]?.holder { files.touch(holder) }
        }
    }

    private mutating func kept(
        _ node: NameNode,
        _ content: Int,
        _ source: ByteName,
        _ name: ByteName,
        _ outcome: NameOutcome
    ) {
        files[node]?.isBusy = false
        switch outcome {
        case .done(let copy?):
            // What was copied stays where it is, nobody's, until it is replaced.
            if remotes[source]?.holder == node { remotes[source]?.holder = nil }
            remotes[name] = Remote(generation: copy, content: content, holder: node)
            files[node]?.stands = name
        case .sourceGone: sourceIsGone(node, source)
        // A conflict is under a name that nobody is to have: the next attempt takes another.
        case .done(nil), .conflict, .failed: break
        }
        changedNames.formUnion([source, name])
        release(node)
    }

    private mutating func written(_ node: NameNode, _ content: Int, _ name: ByteName, _ outcome: NameOutcome) {
        files[node]?.isBusy = false
        if files[node] != nil { changedFiles.insert(node) }
        switch outcome {
        case .done(let generation?):
            if let old = files[node]?.stands, old != name, remotes[old]?.holder == node {
                // What stood there before was renamed away, and is nobody's any more.
                remotes[old]?.holder = nil
                remotes[old]?.isDue = true
                changedNames.insert(old)
            }
            // What an open file without a name had there is gone.
            if let other = remotes[name]?.holder, other != node { files[other]?.stands = nil }
            remotes[name] = Remote(generation: generation, content: content, holder: node)
            files[node]?.stands = name
        case .conflict(let found): conflict(node, name, found)
        case .done(nil), .sourceGone, .failed: break
        }
        release(node)
    }

    private mutating func conflict(_ node: NameNode, _ name: ByteName, _ found: Generation?) {
        if let holder = remotes[name]?.holder, files[holder]?.stands == name { files[holder]?.stands = nil }
        remotes[name] = nil
        guard let found else { return }
        lastContent += 1
        remotes[name] = Remote(generation: found, content: lastContent, holder: nil, isForeign: true)
        guard tree.path(node) == name, let directory = tree.node(at: name.segments.dropLast())
        else { return }
        let last = name.segments.last ?? ""
        let cookie = tree.entries[node]?.cookie
        var number = 1
        while (try? tree.child("\(last).conflict-\(number)", of: directory)) != nil { number += 1 }
        _ = try? tree.rename(
            last,
            in: directory,
            to: "\(last).conflict-\(number)",
            in: directory,
            replaces: false
        )
        _ = try? adopt(last, in: directory, found, cookie: cookie)
        conflicts.append(node)
    }

    private mutating func sourceIsGone(_ node: NameNode, _ source: ByteName) {
        if let file = files[node], !file.isReady, remotes[source]?.content == file.content { lost.append(node) }
        remotes[source] = nil
        files[node]?.stands = nil
    }
}
