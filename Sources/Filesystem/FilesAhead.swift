import BlockCache
import ObjectStorage

/// Contents that were opened before anybody opened their files, until somebody does. Decides only; the caller opens.
///
/// What nobody takes goes again, oldest first, when more is ahead than there is memory for.
struct FilesAhead {
    typealias Completion = @Sendable (Result<CachedContent, FilesystemError>) -> Void

    /// The bytes of a file: the same for all of its names and inodes.
    struct Key: Hashable, Sendable {
        let object: ObjectName
        let generation: Generation

        init(_ facts: FileFacts) {
            object = facts.object
            generation = facts.generation
        }
    }

    private struct Entry {
        let blocks: Int
        var content: CachedContent?
        /// Who opened the file meanwhile.
        var waiting: Completion?
    }

    enum Taken {
        case ready(CachedContent)
        /// The completion is called when it is open.
        case underWay
        case unknown
    }

    /// Files of more bytes are not fetched whole.
    static let largestFile = 4 << 20

    /// In blocks of memory.
    let capacity: Int
    private var entries: [Key: Entry] = [:]
    private var order: [Key] = []
    private var blocks = 0

    /// - Parameter capacity: in blocks.
    init(capacity: Int) { self.capacity = capacity }

    /// How many contents are ahead.
    var count: Int { entries.count }

    /// Blocks that a file of `size` bytes takes.
    static func blocks(of size: Int) -> Int {
        max(1, (size + BlockGeometry.blockSize - 1) / BlockGeometry.blockSize)
    }

    /// A content is about to be opened.
    ///
    /// - Parameter needed: what will be fetched of it, in blocks.
    /// - Returns: whether it is not ahead yet, and may be; and contents that nobody will take, to be let go of without a
    ///   lock.
    mutating func begin(_ facts: FileFacts, blocks needed: Int) -> (isNew: Bool, dropped: [CachedContent]) {
        let key = Key(facts)
        guard entries[key] == nil, needed <= capacity else { return (false, []) }
        var dropped: [CachedContent] = []
        var kept: [Key] = []
        var index = 0
        while index < order.count, blocks + needed > capacity {
            let oldest = order[index]
            index += 1
            guard let content = entries[oldest]?.content else {
                // Taken long ago, or being opened.
                if entries[oldest] != nil { kept.append(oldest) }
                continue
            }
            dropped.append(content)
            remove(oldest)
        }
        order.replaceSubrange(..<index, with: kept)
        guard blocks + needed <= capacity else { return (false, dropped) }
        entries[key] = Entry(blocks: needed)
        order.append(key)
        blocks += needed
        return (true, dropped)
    }

    /// Opening it has ended.
    ///
    /// - Returns: who is to be told.
    mutating func opened(_ key: Key, _ result: Result<CachedContent, FilesystemError>) -> Completion? {
        guard let entry = entries[key] else { return nil }
        if entry.waiting == nil, case .success(let content) = result {
            entries[key]?.content = content
        } else {
            remove(key)
        }
        return entry.waiting
    }

    /// Somebody opens the file: the content is theirs. Only one asks, for others wait for the same inode; should a second
    /// inode have the same bytes, it opens a content of its own.
    mutating func take(_ facts: FileFacts, _ completion: @escaping Completion) -> Taken {
        let key = Key(facts)
        guard let entry = entries[key], entry.waiting == nil else { return .unknown }
        if let content = entry.content {
            remove(key)
            return .ready(content)
        }
        entries[key]?.waiting = completion
        return .underWay
    }

    private mutating func remove(_ key: Key) {
        blocks -= entries.removeValue(forKey: key)?.blocks ?? 0
        if order.count > 4 * entries.count + 64 { order.removeAll { entries[$0] == nil } }
    }
}
