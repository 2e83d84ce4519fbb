import BlockCache
import LinuxPlatform
import ModelFormats
import ObjectStorage
import ReadAhead

// What is fetched before anybody opens it.
extension Filesystem {
    /// Directories whose streams are remembered; a load goes through one at a time.
    private static let maximumStreams = 64

    /// An inode is being read for the first time since it was opened: the files behind it may be next.
    func begun(_ node: NodeID) {
        let place = state.withLock { state -> (parent: NodeID, name: EntryName, path: [EntryName])? in
            guard let record = state.inodes.record(node), let name = state.inodes.name(node),
                let path = state.inodes.path(record.parent)
            else { return nil }
            return (record.parent, name, path)
        }
        if let place, ShardOrder.isIndex(place.name.value) { readIndex(node, in: place.parent) }
        guard let place, let listing = source.known(place.path.map(\.value).joined(separator: "/")),
            let line = listing.line(of: place.name), let size = listing.entries[line].file?.size
        else { return }
        let limit = cache.budget / 4 / BlockGeometry.blockSize / FilesAhead.blocks(of: size)
        let count = listing.entries.count
        let wish = state.withLock { state -> DirectoryStream.Wish? in
            if state.streams[place.parent]?.lineCount != count {
                if state.streams.count >= Self.maximumStreams { state.streams.removeAll() }
                state.streams[place.parent] = DirectoryStream(lineCount: count)
            }
            // In place: it has two bits for each line.
            return state.streams[place.parent]?.begun(line, limit: limit)
        }
        guard let wish else { return }
        let end = wish.lines.first { !openAhead(listing.entries[$0], in: place.parent) } ?? wish.lines.upperBound
        state.withLock { $0.streams[place.parent]?.taken(wish, through: end) }
    }

    /// - Returns: false when there is no room for it now.
    private func openAhead(_ entry: DirectoryEntry, in parent: NodeID) -> Bool {
        guard let facts = entry.file, facts.size > 0, facts.size <= FilesAhead.largestFile else { return true }
        return openAhead(entry.name, facts, in: parent, blocks: FilesAhead.blocks(of: facts.size))
    }

    private func openAhead(_ name: EntryName, _ facts: FileFacts, in parent: NodeID, blocks: Int) -> Bool {
        guard cache.hasRoomAhead(for: .guess) else { return false }
        let (isNew, dropped) = state.withLock { state -> (Bool, [CachedContent]) in
            if let node = state.inodes.child(name, of: parent), state.open[node] != nil { return (false, []) }
            return state.ahead.begin(facts, blocks: blocks)
        }
        withExtendedLifetime(dropped) {}
        guard isNew else { return true }
        let key = FilesAhead.Key(facts)
        opener.open(facts) { [self] result in
            // Before anybody can read it: then a read finds the fetch under way.
            if case .success(let content) = result {
                _ = cache.readAhead(content, 0..<blocks, for: .guess)
            }
            state.withLock { $0.ahead.opened(key, result) }?(result)
        }
        return true
    }

    // MARK: Shards

    /// The next shard begins with so many bytes, where memory allows.
    private static let shardStart = 32 << 20

    /// Reads a content as its file's name suggests.
    func contentReader(_ content: CachedContent, of node: NodeID) -> ContentReader {
        let format = state.withLock { $0.inodes.name(node) }.flatMap { ModelFormat(name: $0.value) }
        return ContentReader(content: content, cache: cache, streams: streams, format: format) { [weak self] in
            self?.beginNextShard(after: node)
        }
    }

    /// A shard is almost read: its successor, by the index or by its name, comes next.
    private func beginNextShard(after node: NodeID) {
        let place = state.withLock { state -> (parent: NodeID, name: String, path: [EntryName])? in
            guard let record = state.inodes.record(node), let name = state.inodes.name(node)?.value,
                let path = state.inodes.path(record.parent)
            else { return nil }
            let next = state.shards[record.parent]?.next(after: name) ?? ShardOrder.next(byName: name)
            return next.map { (record.parent, $0, path) }
        }
        guard let place, let name = EntryName(place.name),
            let facts = source.known(place.path.map(\.value).joined(separator: "/"))?[name]?.file, facts.size > 0
        else { return }
        let most = min(Self.shardStart, cache.budget / 8) / BlockGeometry.blockSize
        _ = openAhead(name, facts, in: place.parent, blocks: max(1, min(most, FilesAhead.blocks(of: facts.size))))
    }

    /// An index of shards is being read: it tells in which order they will be.
    private func readIndex(_ node: NodeID, in parent: NodeID) {
        guard let content = state.withLock({ $0.open[node]?.reader })?.content, content.size <= ShardOrder.maximumIndex
        else { return }
        Task { [weak self, cache] in
            guard let bytes = await cache.bytes(of: content, ByteRange(offset: 0, count: content.size)),
                let order = try? ShardOrder(index: bytes)
            else { return }
            self?.state.withLock { state in
                if state.shards.count >= Self.maximumStreams { state.shards.removeAll() }
                state.shards[parent] = order
            }
        }
    }

    /// The content of a file that is being opened: the one that was opened ahead, or a new one.
    func content(_ facts: FileFacts, _ completion: @escaping FilesAhead.Completion) {
        switch state.withLock({ $0.ahead.take(facts, completion) }) {
        case .ready(let content): completion(.success(content))
        case .underWay: break
        case .unknown: opener.open(facts, completion)
        }
    }
}
