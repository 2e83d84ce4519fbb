import LinuxPlatform

/// A directory directly below the root that stands in the bucket as it is here: nothing in it is open for writing, or waits.
package struct SettledDirectory: Hashable, Sendable {
    package var name: String
    /// Files that its last save wrote, by their paths below it; see `SaveLedger`.
    package var written: Set<String>
    /// Its writer gave it its last name when it was done: until then it had one that is held back.
    package var isWhole: Bool
}

// What a run's directories are like as a whole: for whoever records checkpoints.
extension WriteBack {
    /// Returns when there may be something that `takeSettledDirectories` or `lostNames` has not told of, or after `close`.
    package func waitForNews() async {
        await withCheckedContinuation { continuation in
            ask { core in
                let saves = core.engine.state.saves
                if saves.news.isEmpty, saves.lostNames.isEmpty, !core.isClosed { return nil }
                return { continuation.resume() }
            }
        }
    }

    /// Directories that something was written to and that are whole in the bucket now; each once, until something in it changes
    /// or is written, and by each process anew until they are `recorded`.
    package func takeSettledDirectories() -> [SettledDirectory] {
        core.withLock { core in
            core.engine.state.saves.news.sorted().compactMap { top in
                let (names, saves) = (core.engine.state.names, core.engine.state.saves)
                guard let name = names.tree.path(top), let save = saves.saves[top], save.isWhole || !save.files.isEmpty
                else {
                    core.engine.state.saves.looked(top)
                    return nil
                }
                // What was unlinked counts until it is gone from the bucket, too.
                guard names.tree.files(below: top).allSatisfy({ isSettled($0, core) }),
                    !core.engine.hasTombstones(below: name)
                else { return nil }
                core.engine.state.saves.looked(top)
                let written = save.files.compactMap { names.tree.path($0, below: top)?.value }
                return SettledDirectory(name: name.value, written: Set(written), isWhole: save.isWhole)
            }
        }
    }

    /// Whether the bucket has the file under its name, and nobody can be about to change it.
    private func isSettled(_ node: NameNode, _ core: Core) -> Bool {
        let names = core.engine.state.names
        guard names.isCurrent(node), let file = names.files[node], !file.isBusy, file.stands == names.tree.path(node)
        else { return false }
        return core.engine.state.files[node]?.writers ?? 0 == 0
    }

    /// A directory that was taken could not be looked at: it is told of again.
    package func giveBack(_ directory: SettledDirectory) {
        core.withLock { core in
            if let top = top(directory.name, core) { core.engine.state.saves.lookAgain(top) }
        }
    }

    /// A directory that was taken is a checkpoint that has a record: also later processes tell of it only when it has changed since.
    package func recorded(_ directory: SettledDirectory) async {
        await remember { core in
            if let top = top(directory.name, core), !core.engine.state.saves.news.contains(top) {
                core.engine.note(.recorded(top))
            }
        }
    }

    /// Makes a change that the next process is to know. If it does not, somebody looks once more.
    private func remember(_ body: (inout Core) -> Void) async {
        let changed = try? change { (core) throws(Errno) in body(&core) }
        if let changed { _ = await commitSafely(changed.position, .process) }
    }

    private func top(_ name: String, _ core: Core) -> NameNode? {
        let tree = core.engine.state.names.tree
        return try? tree.child(ByteName(name), of: tree.root)
    }

    /// Names directly below the root that a directory had, and nothing has now; until they are `withdrawn`.
    package func lostNames() -> [String] {
        var names: [ByteName] = []
        update { core in
            for name in core.engine.state.saves.lostNames.sorted() {
                if top(name.value, core) == nil { names.append(name) } else { core.engine.note(.withdrawn(name)) }
            }
        }
        return names.map(\.value)
    }

    /// No record is left of a name that was lost.
    package func withdrawn(_ name: String) async { await remember { $0.engine.note(.withdrawn(ByteName(name))) } }
}
