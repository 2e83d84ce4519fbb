import LinuxPlatform

// How the ledger of saves follows what happens to names.
extension WriteBackState {
    /// What files lose when the name, of a file or a directory, is taken away.
    ///
    /// - Parameter newDirectory: where it goes. A directory that stays directly below the root takes nothing from its files.
    func departures(
        _ name: ByteName,
        _ directory: NameNode,
        to newDirectory: NameNode? = nil
    ) -> [SaveLedger.Departure] {
        let tree = names.tree
        guard let node = try? tree.child(name, of: directory) else { return [] }
        if tree.isDirectory(node), directory == tree.root, newDirectory == tree.root { return [] }
        return tree.files(below: node).compactMap { saves.departure(of: $0, tree) }
    }

    /// Something has another name.
    mutating func named(
        _ name: ByteName,
        _ directory: NameNode,
        from old: ByteName,
        _ source: NameNode,
        _ moved: [SaveLedger.Departure],
        _ overwritten: [SaveLedger.Departure]
    ) {
        let tree = names.tree
        guard let node = try? tree.child(name, of: directory) else { return }
        saves.removed(overwritten)
        saves.moved(moved)
        if tree.isDirectory(node) { lostDirectory(directory == tree.root ? nil : node, old, of: source) }
        saves.arrived(moved, tree)
        // A name is held back for what is in it.
        func isHeldBack(_ name: ByteName) -> Bool { names.holdsBack("\(name)/file") }
        if tree.isDirectory(node), directory == tree.root, isHeldBack(old), !isHeldBack(name) { saves.isWhole(node) }
    }

    /// A directory does not have the name any more, and does not stand directly below the root, when `node` says which.
    mutating func lostDirectory(_ node: NameNode?, _ name: ByteName, of directory: NameNode) {
        guard directory == names.tree.root else { return }
        saves.lost(name)
        if let node { saves.forget(node) }
    }

    var saveEvents: [WriteBackRecord.Event] {
        var events: [WriteBackRecord.Event] = []
        for (top, save) in saves.saves.sorted(by: { $0.key < $1.key }) {
            events.append(.save(top, isWhole: save.isWhole))
            for node in save.files.sorted() {
                events.append(.written(node, in: top, isClosed: saves.members[node]?.isClosed == true))
            }
        }
        return events + saves.lostNames.sorted().map { .lostName($0) }
    }

    mutating func restoreSaves(_ event: WriteBackRecord.Event) throws(Errno) {
        switch event {
        case .save(let top, let isWhole):
            guard names.tree.isDirectory(top) else { throw .invalidArgument }
            saves.restore(top, isWhole: isWhole)
        case .written(let node, let top, let isClosed):
            guard names.files[node] != nil else { throw .invalidArgument }
            saves.restore(node, SaveLedger.Member(top: top, isClosed: isClosed))
        case .lostName(let name): saves.lost(name)
        default: break
        }
    }
}
