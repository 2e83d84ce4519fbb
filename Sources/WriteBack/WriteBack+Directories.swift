import LinuxPlatform

/// A directory directly below the root that stands in the bucket as it is here: nothing in it is open for writing, or waits.
package struct SettledDirectory: Hashable, Sendable {
    package var name: String
    /// Files that were published since the directory was looked at last, by their paths below it.
    package var written: Set<String>
    /// Its writer gave it its last name when it was done: until then it had one that is held back.
    package var isWhole: Bool
}

// What a run's directories are like as a whole: for whoever records checkpoints.
extension WriteBack {
    func collectWritten(_ core: inout Core) {
        for node in core.engine.takePublished() where options.tellsOfDirectories {
            guard let top = core.engine.state.names.tree.top(of: node) else { continue }
            core.written[top, default: []].insert(node)
        }
    }

    /// Something has got another name.
    func noteNamed(
        _ node: NameNode,
        from source: NameNode,
        _ old: ByteName,
        to target: NameNode,
        _ new: ByteName,
        _ core: inout Core
    ) {
        let tree = core.engine.state.names.tree
        guard options.tellsOfDirectories, tree.isDirectory(node) else { return }
        noteLost(old, of: source, &core)
        // A name is held back for what is in it.
        func isHeldBack(_ name: ByteName) -> Bool { options.holdsBack("\(name)/file") }
        if target == tree.root, isHeldBack(old), !isHeldBack(new) { core.whole.insert(node) }
    }

    /// A directory has lost its name.
    func noteLost(_ name: ByteName, of parent: NameNode, _ core: inout Core) {
        if options.tellsOfDirectories, parent == core.engine.state.names.tree.root { core.lost.insert(name) }
    }

    /// Returns when there may be something that `takeSettledDirectories` or `takeLostNames` has not told of, or after `close`.
    package func waitForNews() async {
        await withCheckedContinuation { continuation in
            ask { core in
                if core.written.isEmpty, core.lost.isEmpty, !core.isClosed { return nil }
                return { continuation.resume() }
            }
        }
    }

    /// Directories with new files that are whole in the bucket now; each once, until other files of it are published.
    package func takeSettledDirectories() -> [SettledDirectory] {
        core.withLock { core in
            core.written.keys.sorted().compactMap { top in
                let names = core.engine.state.names
                guard let name = names.tree.path(top) else {
                    core.written[top] = nil
                    core.whole.remove(top)
                    return nil
                }
                guard names.tree.files(below: top).allSatisfy({ isSettled($0, core) }) else { return nil }
                let written = core.written.removeValue(forKey: top) ?? []
                let start = name.value.utf8.count + 1
                let paths = written.compactMap { names.tree.path($0) }
                return SettledDirectory(
                    name: name.value,
                    written: Set(paths.map { String(decoding: $0.value.utf8.dropFirst(start), as: UTF8.self) }),
                    isWhole: core.whole.remove(top) != nil
                )
            }
        }
    }

    /// Names directly below the root that a directory had, and nothing has now; each once.
    package func takeLostNames() -> [String] {
        core.withLock { core in
            defer { core.lost = [] }
            let tree = core.engine.state.names.tree
            return core.lost.filter { (try? tree.child($0, of: tree.root)) == nil }.sorted().map(\.value)
        }
    }

    /// A name that was taken, and could not be looked at: it is told of again.
    package func giveBack(lost name: String) { core.withLock { _ = $0.lost.insert(ByteName(name)) } }

    /// Whether the bucket has the file under its name, and nobody can be about to change it.
    private func isSettled(_ node: NameNode, _ core: Core) -> Bool {
        let names = core.engine.state.names
        guard names.isCurrent(node), let file = names.files[node], !file.isBusy, file.stands == names.tree.path(node)
        else { return false }
        return core.engine.state.files[node]?.writers ?? 0 == 0
    }

    /// A directory that was taken, and could not be looked at: it is told of again.
    package func giveBack(_ directory: SettledDirectory) {
        core.withLock { core in
            let names = core.engine.state.names
            guard let top = try? names.tree.child(ByteName(directory.name), of: names.tree.root) else { return }
            for path in directory.written {
                let segments = [ByteName(directory.name)] + ByteName(path).segments
                if let node = names.tree.node(at: segments) { core.written[top, default: []].insert(node) }
            }
            if directory.isWhole { core.whole.insert(top) }
        }
    }
}
