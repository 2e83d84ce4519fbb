package import BlockCache
package import LinuxPlatform
import ModelFormats
import ObjectStorage
import ReadAhead

/// What stat(2) shows of an inode.
package struct NodeAttributes: Hashable, Sendable {
    package var node: NodeID
    /// st_ino: the same after a new mount, for the same path and generation.
    package var number: UInt64
    package var isDirectory: Bool
    package var isLink = false
    /// In bytes; 0 for directories.
    package var size: Int
    package var modified: UnixTime
}

/// What a directory holds under a name.
package struct FoundName: Sendable {
    /// Nil: nothing.
    package var attributes: NodeAttributes?
    /// After this the name may mean something else.
    package var validUntil: MonotonicInstant
}

/// Makes an object's generation readable.
package protocol ContentOpener: AnyObject, Sendable {
    /// Gets what is needed to verify the bytes. The completion is called exactly once, with no lock held.
    func open(
        _ facts: FileFacts,
        _ completion: @escaping @Sendable (Result<CachedContent, FilesystemError>) -> Void
    )
}

/// A read-only tree of files over a source of directories and a cache of blocks: what the kernel asks for, in terms that
/// know neither the kernel's protocol nor where the bytes are stored.
///
/// Answers that need no I/O come before the call returns; others on the thread that completes them. A handle is the
/// inode's number: nothing that the kernel may name later lives only here, so another process can go on with the inode
/// table of this one.
package final class Filesystem: Sendable {
    package typealias Completion<Value> = @Sendable (Result<Value, FilesystemError>) -> Void
    /// Sees the bytes of a read, valid during the call only; called exactly once.
    package typealias BytesReader = @Sendable (Result<[UnsafeRawBufferPointer], FilesystemError>) -> Void

    /// Told of names in a directory that mean something else than was said, before that was over.
    package typealias NamesObserver = @Sendable (_ directory: NodeID, _ names: [EntryName]) -> Void

    package struct Options: Sendable {
        /// Shown as `user.penstock.source`, for example the URL that is mounted.
        package var source: String
        /// Shown as `user.penstock.socket`: where this daemon listens.
        package var socket: String?
        /// Which process of the mount this is: handles that others gave are known to be none of its own.
        package var worker: UInt32

        package init(source: String, socket: String? = nil, worker: UInt32 = 1) {
            self.source = source
            self.socket = socket
            self.worker = worker
        }
    }

    struct OpenFile {
        /// How often the kernel has it open.
        var opens = 0
        /// How many of these are not the kernel's: see `hold`.
        var holds = 0
        /// Somebody has read of it since it was opened.
        var isBegun = false
        var reader: ContentReader?
        var waiting: [Completion<ContentReader>] = []
    }

    struct State {
        let inodes: InodeTable
        /// Of files that were opened; of others the listing knows them.
        var facts: [NodeID: FileFacts] = [:]
        var open: [NodeID: OpenFile] = [:]
        /// Closed files whose readers are kept for a while, oldest first.
        var idle: [NodeID] = []
        var directories: [UInt64: DirectoryListing] = [:]
        var lastDirectory: UInt64
        /// The serial of the listing that a directory's last open showed.
        var shown: [NodeID: UInt64] = [:]
        var namesObserver: NamesObserver?
        /// By directory: who reads its files in order.
        var streams: [NodeID: DirectoryStream] = [:]
        /// By directory: what an index in it says.
        var shards: [NodeID: ShardOrder] = [:]
        var ahead: FilesAhead
    }

    /// A read may ask for so many bytes at most.
    package static let maximumRead = 1 << 20
    private static let maximumIdle = 64

    package let source: any DirectorySource
    let cache: BlockCache
    let options: Options
    let state: Lock<State>
    let opener: any ContentOpener
    let streams = ActiveStreams()

    /// - Parameter inodes: memory for the inode table that others hold, too: empty, or with what a former process of this
    ///   mount left there; nil: memory of its own.
    /// - Throws: the `errno` of making the inode table's memory; `invalidArgument` when another thing is in it.
    package init(
        source: any DirectorySource,
        opener: any ContentOpener,
        cache: BlockCache,
        options: Options,
        inodes: consuming FileDescriptor? = nil
    ) throws(Errno) {
        self.source = source
        self.opener = opener
        self.cache = cache
        self.options = options
        let table =
            if let inodes {
                try InodeTable(in: inodes, modified: source.modified)
            } else {
                try InodeTable(modified: source.modified)
            }
        let ahead = FilesAhead(capacity: cache.budget / 4 / BlockGeometry.blockSize)
        let lastDirectory = UInt64(options.worker - 1) << 40
        state = Lock(State(inodes: table, lastDirectory: lastDirectory, ahead: ahead))
        source.observe { [weak self] path, names in self?.changed(path, names) }
    }

    // MARK: Names and attributes

    /// Finds a name, and counts that the kernel knows it. Fails with `noEntry` only for what can be no name.
    package func lookup(_ parent: NodeID, _ name: String, _ completion: @escaping Completion<FoundName>) {
        guard name.utf8.count <= EntryName.maximumLength else { return completion(.failure(.nameTooLong)) }
        guard let name = EntryName(name) else { return completion(.failure(.noEntry)) }
        listing(of: parent) { [self] result in
            completion(
                result.flatMap { listing in
                    guard let entry = listing[name] else {
                        return .success(FoundName(attributes: nil, validUntil: listing.validUntil))
                    }
                    return remember(entry, in: parent).map {
                        FoundName(attributes: $0, validUntil: listing.validUntil)
                    }
                }
            )
        }
    }

    /// The inode of a line of a directory; counts that the kernel knows it.
    package func remember(_ entry: DirectoryEntry, in parent: NodeID) -> Result<NodeAttributes, FilesystemError> {
        state.withLock { state in
            do throws(Errno) {
                return .success(Self.attributes(try state.inodes.enter(entry.name, in: parent, entry)))
            } catch {
                return .failure(.inputOutput)
            }
        }
    }

    /// The kernel forgets so many lookups of an inode.
    package func forget(_ node: NodeID, _ count: UInt64) {
        let readers = state.withLock { state in
            state.inodes.forget(node, count).map { gone in
                state.facts[gone] = nil
                state.shown[gone] = nil
                state.streams[gone] = nil
                state.shards[gone] = nil
                state.idle.removeAll { $0 == gone }
                return state.open.removeValue(forKey: gone)
            }
        }
        // Outside of the lock: the last reference to a reader frees what hangs on it.
        withExtendedLifetime(readers) {}
    }

    package func attributes(_ node: NodeID) throws(FilesystemError) -> NodeAttributes {
        guard let record = state.withLock({ $0.inodes.record(node) }) else { throw .stale }
        return Self.attributes(record)
    }

    /// How many inodes the kernel knows.
    package var inodeCount: Int { state.withLock { $0.inodes.count } }

    /// The memfd of the inode table: who holds it can go on after this process.
    package var inodeDescriptor: Int32 { state.withLock { $0.inodes.descriptor } }

    static func attributes(_ record: InodeRecord) -> NodeAttributes {
        NodeAttributes(
            node: record.node,
            number: record.number,
            isDirectory: record.isDirectory,
            isLink: record.isLink,
            size: record.size,
            modified: record.modified
        )
    }

    /// The listing of a directory's inode, as fresh as the source promises.
    func listing(of node: NodeID, _ completion: @escaping Completion<DirectoryListing>) {
        let record = state.withLock { $0.inodes.record(node) }
        guard let record, let path = path(of: node) else { return completion(.failure(.stale)) }
        guard record.isDirectory else { return completion(.failure(.notDirectory)) }
        if let known = source.known(path) { return completion(.success(known)) }
        source.load(path, completion)
    }

    /// Names parted by `/`, as a source of directories knows them; nil for what is unknown.
    func path(of node: NodeID) -> String? {
        state.withLock { $0.inodes.path(node) }.map { $0.map(\.value).joined(separator: "/") }
    }

    // MARK: Files

    /// Opens a file to read it.
    ///
    /// Fails with `stale` when another generation stands under its name, or none.
    package func open(_ node: NodeID, _ completion: @escaping Completion<Void>) {
        guard let record = state.withLock({ $0.inodes.record(node) }) else { return completion(.failure(.stale)) }
        if record.isDirectory { return completion(.failure(.isDirectory)) }
        if record.isSuperseded { return completion(.failure(.stale)) }
        checkCurrent(record) { [self] result in
            if case .failure(let error) = result { return completion(.failure(error)) }
            reader(of: node, countingOpen: true) { completion($0.map { _ in }) }
        }
    }

    private func checkCurrent(_ record: InodeRecord, _ completion: @escaping Completion<Void>) {
        if source.isFixed { return completion(.success(())) }
        listedFacts(record) { [self] result in
            if case .success(let facts) = result {
                state.withLock { state in
                    if state.facts[record.node] == nil { state.facts[record.node] = facts }
                }
            }
            completion(result.map { _ in })
        }
    }

    /// What the listing says of a file; `stale` when another generation stands under its name, or none.
    func listedFacts(_ record: InodeRecord, _ completion: @escaping Completion<FileFacts>) {
        guard let name = state.withLock({ $0.inodes.name(record.node) }) else { return completion(.failure(.stale)) }
        listing(of: record.parent) { result in
            completion(
                result.flatMap { listing in
                    guard let facts = listing[name]?.file, facts.generation == record.generation else {
                        return .failure(.stale)
                    }
                    return .success(facts)
                }
            )
        }
    }

    /// A file with exactly the bytes of an inode that is open, for whoever can do the reading; nil when there is none now.
    package func backing(of node: NodeID) -> BackingFile? {
        guard let content = state.withLock({ $0.open[node]?.reader })?.content, let file = content.backing(),
            file.size == content.size
        else { return nil }
        return file
    }

    /// A number for a read, never used again, to cancel it by.
    package func newRead() -> UInt64 { cache.newReadID().value }

    /// Bytes that are in memory, shown before this returns; false when they are not.
    package func readNow(
        _ node: NodeID,
        offset: Int,
        count: Int,
        _ reader: ([UnsafeRawBufferPointer]) -> Void
    ) -> Bool {
        guard count <= Self.maximumRead else { return false }
        let (file, isFirst) = state.withLock { state -> (ContentReader?, Bool) in
            guard let file = state.open[node], let reader = file.reader else { return (nil, false) }
            return (reader, !file.isBegun)
        }
        guard let file else { return false }
        guard let range = Self.range(offset, count, size: file.content.size) else {
            reader([])
            return true
        }
        let isThere = file.hit(range, reader)
        if isThere, isFirst { noteReading(node) }
        return isThere
    }

    /// Reads; fewer bytes than asked for only at the file's end.
    ///
    /// - Parameter id: from `newRead`; see `cancelRead`.
    package func read(
        _ id: UInt64,
        _ node: NodeID,
        offset: Int,
        count: Int,
        _ reader: @escaping BytesReader
    ) {
        guard offset >= 0, count >= 0, count <= Self.maximumRead else { return reader(.failure(.invalidArgument)) }
        self.reader(of: node, countingOpen: false) { result in
            switch result {
            case .failure(let error): reader(.failure(error))
            case .success(let content):
                guard let range = Self.range(offset, count, size: content.content.size) else {
                    return reader(.success([]))
                }
                content.read(BlockCache.ReadID(id), range) { [self] bytes in
                    if case .failure(.stale) = bytes { noteGone(node) }
                    reader(bytes.mapError(FilesystemError.init))
                }
                self.noteReading(node)
            }
        }
    }

    private func noteReading(_ node: NodeID) {
        let isFirst = state.withLock { state -> Bool in
            guard let file = state.open[node], !file.isBegun else { return false }
            state.open[node]?.isBegun = true
            return true
        }
        if isFirst { begun(node) }
    }

    private static func range(_ offset: Int, _ count: Int, size: Int) -> ByteRange? {
        guard offset < size, count > 0 else { return nil }
        return ByteRange(offset: offset, count: min(count, size - offset))
    }

    /// Ends a read that waits: it fails with `interrupted`. Nothing happens to one that is being answered.
    package func cancelRead(_ id: UInt64) { cache.cancel(BlockCache.ReadID(id)) }

    /// One open of the file has ended.
    package func release(_ node: NodeID) {
        let reader = state.withLock { state -> OpenFile? in
            guard var file = state.open[node] else { return nil }
            file.opens = max(0, file.opens - 1)
            state.open[node] = file
            guard file.opens == 0 else { return nil }
            state.idle.append(node)
            guard state.idle.count > Self.maximumIdle else { return nil }
            let oldest = state.idle.removeFirst()
            guard let old = state.open[oldest], old.opens == 0, old.waiting.isEmpty else { return nil }
            return state.open.removeValue(forKey: oldest)
        }
        withExtendedLifetime(reader) {}
    }

    /// The reader of an inode, made when nobody has it open yet, or when another process had.
    private func reader(of node: NodeID, countingOpen: Bool, _ completion: @escaping Completion<ContentReader>) {
        enum Step {
            case ready(ContentReader)
            case wait
            case begin(FileFacts)
            case unknown
        }
        let step = state.withLock { state -> Step in
            var file = state.open[node] ?? OpenFile()
            if countingOpen {
                if file.opens == 0 { file.isBegun = false }
                file.opens += 1
                state.idle.removeAll { $0 == node }
            }
            if let reader = file.reader {
                state.open[node] = file
                return .ready(reader)
            }
            guard let facts = state.facts[node] else { return .unknown }
            file.waiting.append(completion)
            state.open[node] = file
            return file.waiting.count == 1 ? .begin(facts) : .wait
        }
        switch step {
        case .ready(let reader): completion(.success(reader))
        case .wait: break
        case .begin(let facts): content(facts) { [self] result in opened(node, result) }
        case .unknown: recover(node, countingOpen: countingOpen, completion)
        }
    }

    private func opened(_ node: NodeID, _ result: Result<CachedContent, FilesystemError>) {
        let outcome = result.map { contentReader($0, of: node) }
        let waiting = state.withLock { state -> [Completion<ContentReader>] in
            let waiting = state.open[node]?.waiting ?? []
            if case .success(let reader) = outcome {
                state.open[node]?.waiting = []
                state.open[node]?.reader = reader
            } else {
                state.open[node] = nil
            }
            return waiting
        }
        for completion in waiting { completion(outcome) }
    }

    /// Finds again what a former process knew of a file.
    private func recover(_ node: NodeID, countingOpen: Bool, _ completion: @escaping Completion<ContentReader>) {
        guard let record = state.withLock({ $0.inodes.record(node) }), !record.isDirectory else {
            return completion(.failure(.stale))
        }
        listedFacts(record) { [self] result in
            switch result {
            case .success(let facts):
                state.withLock { $0.facts[node] = facts }
                reader(of: node, countingOpen: countingOpen, completion)
            case .failure(let error): completion(.failure(error))
            }
        }
    }
}
