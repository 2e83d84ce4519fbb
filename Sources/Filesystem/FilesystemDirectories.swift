import Checksums
import LinuxPlatform
import ObjectStorage

// Directories, extended attributes and totals.
extension Filesystem {
    // MARK: Directories

    package struct OpenedDirectory: Sendable {
        /// For `directory` and `releaseDirectory`.
        package var handle: UInt64
        /// It is as it was shown when it was opened before: what the kernel kept of that is right.
        package var isUnchanged: Bool
    }

    /// Opens a directory: whoever reads it through this handle sees it as it is now.
    package func openDirectory(_ node: NodeID, _ completion: @escaping Completion<OpenedDirectory>) {
        listing(of: node) { [self] result in
            completion(
                result.map { listing in
                    state.withLock { state in
                        state.lastDirectory += 1
                        state.directories[state.lastDirectory] = listing
                        let before = state.shown.updateValue(listing.serial, forKey: node)
                        return OpenedDirectory(handle: state.lastDirectory, isUnchanged: before == listing.serial)
                    }
                }
            )
            // Behind the answer: it is not what this caller waits for.
            if case .success = result, let path = path(of: node) { source.opened(path) }
        }
    }

    /// What an open directory holds. A handle of a former process sees the directory as it is now, and from then on.
    package func directory(
        _ handle: UInt64,
        _ node: NodeID,
        _ completion: @escaping Completion<DirectoryListing>
    ) {
        if let listing = state.withLock({ $0.directories[handle] }) { return completion(.success(listing)) }
        listing(of: node) { [self] result in
            completion(
                result.map { listing in
                    state.withLock { state in
                        // Two readers of one handle go by the same listing.
                        let first = state.directories[handle] ?? listing
                        state.directories[handle] = first
                        return first
                    }
                }
            )
        }
    }

    package func releaseDirectory(_ handle: UInt64) {
        let listing = state.withLock { $0.directories.removeValue(forKey: handle) }
        withExtendedLifetime(listing) {}
    }

    /// st_ino of a directory's line, whether or not the kernel knows its inode.
    package func number(of entry: DirectoryEntry, in parent: NodeID) -> UInt64 {
        let parent = state.withLock { $0.inodes.record(parent)?.number ?? 1 }
        return InodeTable.number(of: entry.name, entry, in: parent)
    }

    /// st_ino of `..`.
    package func parentNumber(of node: NodeID) -> UInt64 {
        state.withLock { state in
            state.inodes.record(node).flatMap { state.inodes.record($0.parent)?.number } ?? 1
        }
    }

    // MARK: Changes

    /// Has names that change told to whoever caches them. Set once.
    package func observeNames(_ observer: @escaping NamesObserver) { state.withLock { $0.namesObserver = observer } }

    /// A file's generation is gone at the store. If its directory's listing still names it, the listing is over.
    func noteGone(_ node: NodeID) {
        let (record, name) = state.withLock { ($0.inodes.record(node), $0.inodes.name(node)) }
        guard !source.isFixed, let record, let name, let parent = path(of: record.parent) else { return }
        if source.known(parent)?[name]?.generation == record.generation { source.distrust(parent) }
    }

    func changed(_ path: String, _ names: [EntryName]) {
        let segments = path.utf8.split(separator: 0x2F).compactMap { EntryName(String(Substring($0))) }
        let (node, observer) = state.withLock { ($0.inodes.node(at: segments), $0.namesObserver) }
        if let node, let observer { observer(node, names) }
    }

    // MARK: Extended attributes

    /// The inode's extended attributes, in the order of `getfattr -d`.
    package func extendedAttributes(_ node: NodeID) throws(FilesystemError) -> [(name: String, value: String)] {
        guard let record = state.withLock({ $0.inodes.record(node) }) else { throw .stale }
        let facts = record.isDirectory ? nil : facts(record)
        var values: [(String, String?)] = []
        if !record.isDirectory {
            values = [
                ("generation", "\(record.generation)"),
                ("crc32c", facts?.crc32c?.description),
                ("sha256", facts?.sha256),
                ("commit", facts?.commit),
                ("object", facts?.object.value),
            ]
        }
        values += [("source", options.source), ("socket", options.socket)]
        return values.compactMap { name, value in value.map { (name: "user.penstock." + name, value: $0) } }
            .sorted { $0.name < $1.name }
    }

    // MARK: Links

    /// Where a symbolic link leads, of the generation that the inode is.
    ///
    /// Fails with `stale` when that is not known any more.
    package func linkTarget(_ node: NodeID, _ completion: @escaping Completion<String>) {
        guard let record = state.withLock({ $0.inodes.record(node) }), record.isLink else {
            return completion(.failure(.stale))
        }
        if let target = facts(record)?.link { return completion(.success(target)) }
        listedFacts(record) { result in
            completion(result.flatMap { facts in facts.link.map { .success($0) } ?? .failure(.stale) })
        }
    }

    /// What is known of a file's generation, without I/O; nil when another one stands under its name by now.
    private func facts(_ record: InodeRecord) -> FileFacts? {
        let (facts, name) = state.withLock { ($0.facts[record.node], $0.inodes.name(record.node)) }
        if let facts { return facts }
        guard let name, let parent = path(of: record.parent),
            let entry = source.lastKnown(parent)?[name], entry.generation == record.generation
        else { return nil }
        return entry.file
    }

    // MARK: Totals

    /// Numbers for statfs(2): a full filesystem of what the source holds.
    package struct Totals: Hashable, Sendable {
        package var files: Int
        package var bytes: Int
    }

    package var totals: Totals {
        let known = source.totals
        return Totals(files: max(known.files, inodeCount), bytes: known.bytes)
    }
}
