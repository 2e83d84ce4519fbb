package import BlockCache
import LinuxPlatform
import ReadAhead

/// A file that somebody in this process has open by its path, as an application would. Give it to `letGo`.
package struct HeldFile: Sendable {
    package let content: CachedContent
    fileprivate let node: NodeID
    /// Those on the way and the file's, as far as they were looked up for it: each once.
    fileprivate let lookups: [NodeID]
}

/// A file that is known without asking the store.
package struct KnownFile: Sendable {
    /// Names parted by `/`.
    package let path: String
    package let facts: FileFacts
    /// Nil for one that nobody has, or had a moment ago.
    package let node: NodeID?
    /// How it is read, where it was opened.
    package let content: CachedContent?
    /// The kernel has it open.
    package let isOpen: Bool
}

// Files by their paths: for whoever prefetches, pins or shows them.
extension Filesystem {
    /// Every file below a directory, or a file itself, asking the source for listings that are not known.
    ///
    /// - Parameters:
    ///   - path: names parted by `/`; empty for the root.
    ///   - limit: with more files it fails with `invalidArgument`.
    /// - Returns: paths in byte order, with sizes in bytes. `noEntry` when there is nothing of that name.
    package func files(
        below path: String,
        limit: Int
    ) async throws(FilesystemError) -> [(path: String, size: Int)] {
        var names = path.split(separator: "/").map(String.init)
        if let last = names.popLast() {
            guard let name = EntryName(last) else { throw .noEntry }
            let parent = try await listing(at: names.joined(separator: "/"))
            guard let entry = parent[name] else { throw .noEntry }
            if let file = entry.file { return [(path, file.size)] }
        }
        var found: [(path: String, size: Int)] = []
        var directories = [path]
        while let directory = directories.popLast() {
            for entry in try await listing(at: directory).entries {
                let below = directory.isEmpty ? entry.name.value : "\(directory)/\(entry.name)"
                guard let file = entry.file else {
                    directories.append(below)
                    continue
                }
                found.append((below, file.size))
                if found.count > limit { throw .invalidArgument }
            }
            if Task.isCancelled { throw .interrupted }
        }
        return found.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    private func listing(at path: String) async throws(FilesystemError) -> DirectoryListing {
        if let known = source.known(path) { return known }
        let result = await withCheckedContinuation { continuation in
            source.load(path) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Opens a file by its path, so that readers share its blocks.
    package func hold(_ path: String) async throws(FilesystemError) -> HeldFile {
        var nodes: [NodeID] = []
        var node = NodeID.root
        do throws(FilesystemError) {
            for name in path.split(separator: "/") {
                let found = try await answer { self.lookup(node, String(name), $0) }
                guard let attributes = found.attributes else { throw .noEntry }
                node = attributes.node
                nodes.append(node)
            }
            try await answer { self.open(node, $0) }
        } catch {
            nodes.forEach { forget($0, 1) }
            throw error
        }
        return try held(node, lookups: nodes)
    }

    /// The same for an inode that the kernel has open, also by a former process.
    package func hold(_ node: NodeID) async throws(FilesystemError) -> HeldFile {
        try await answer { self.open(node, $0) }
        return try held(node, lookups: [])
    }

    /// What was opened.
    private func held(_ node: NodeID, lookups: [NodeID]) throws(FilesystemError) -> HeldFile {
        let content = state.withLock { state -> CachedContent? in
            guard let content = state.open[node]?.reader?.content else { return nil }
            state.open[node]?.holds += 1
            return content
        }
        guard let content else {
            release(node)
            lookups.forEach { forget($0, 1) }
            throw .stale
        }
        return HeldFile(content: content, node: node, lookups: lookups)
    }

    package func letGo(_ file: HeldFile) {
        state.withLock { $0.open[file.node]?.holds -= 1 }
        release(file.node)
        file.lookups.forEach { forget($0, 1) }
    }

    private func answer<Value: Sendable>(
        _ ask: (@escaping Completion<Value>) -> Void
    ) async throws(FilesystemError) -> Value {
        let result = await withCheckedContinuation { continuation in ask { continuation.resume(returning: $0) } }
        return try result.get()
    }

    /// The files that are known without asking anybody, in byte order of their paths.
    ///
    /// - Parameter limit: what is beyond it is only counted.
    package func knownFiles(limit: Int) -> (files: [KnownFile], leftOut: Int) {
        let opened = openedFiles()
        var found: [(path: String, facts: FileFacts)] = []
        var directories = [""]
        while let directory = directories.popLast() {
            guard let listing = source.known(directory) else { continue }
            for entry in listing.entries {
                let below = directory.isEmpty ? entry.name.value : "\(directory)/\(entry.name)"
                if let file = entry.file { found.append((below, file)) } else { directories.append(below) }
            }
        }
        found.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        let files = found.prefix(limit).map { path, facts in
            let file = opened[BytePath(path)].flatMap { $0.facts.generation == facts.generation ? $0 : nil }
            return KnownFile(
                path: path,
                facts: facts,
                node: file?.node,
                content: file?.content,
                isOpen: file?.isOpen ?? false
            )
        }
        return (files, max(0, found.count - limit))
    }

    private struct OpenedFile {
        let node: NodeID
        let facts: FileFacts
        let content: CachedContent?
        let isOpen: Bool
    }

    private func openedFiles() -> [BytePath: OpenedFile] {
        state.withLock { state in
            var opened: [BytePath: OpenedFile] = [:]
            for (node, file) in state.open {
                guard let facts = state.facts[node], let path = state.inodes.path(node) else { continue }
                opened[BytePath(path.map(\.value).joined(separator: "/"))] = OpenedFile(
                    node: node,
                    facts: facts,
                    content: file.reader?.content,
                    isOpen: file.opens > file.holds
                )
            }
            return opened
        }
    }
}
