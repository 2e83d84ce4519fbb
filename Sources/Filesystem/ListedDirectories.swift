package import LinuxPlatform
import Manifests
package import ObjectStorage
package import Telemetry
package import TransferEngine

/// The directories of a prefix as its listings show them: one listing with a delimiter for each directory, believed for a
/// while, also in what it does not hold. Who walks through the tree finds directories listed before they are opened: see
/// `DirectoryWalk`.
///
/// Objects whose names cannot be files are hidden, each with one warning: empty segments (`//`), `.` and `..`, segments
/// over 255 bytes, an object named like a directory beside it. An object that is only a directory's mark (`dir/`) is
/// hidden silently, and so is Penstock's own directory.
package final class ListedDirectories: DirectorySource {
    package typealias Completion = @Sendable (Result<DirectoryListing, FilesystemError>) -> Void

    private struct State {
        var listings: [BytePath: DirectoryListing] = [:]
        /// Who waits for a listing that is under way: nobody, when it was begun before anybody asked.
        var loading: [BytePath: [Completion]] = [:]
        var walk = DirectoryWalk()
        /// Too large to be listed before somebody asks.
        var large: Set<BytePath> = []
        /// Whose listings are known to be over.
        var distrusted: Set<BytePath> = []
        var observer: (@Sendable (String, [EntryName]) -> Void)?
        var warned: Set<BytePath> = []
        /// Of all listings, each counted as one, too.
        var entries = 0
        /// Of the files in all listings.
        var bytes = 0

        mutating func remember(_ listing: DirectoryListing, _ key: BytePath) {
            distrusted.remove(key)
            large.remove(key)
            let old = listings.updateValue(listing, forKey: key)
            entries += listing.entries.count + 1 - (old.map { $0.entries.count + 1 } ?? 0)
            bytes &+= listing.bytes &- (old?.bytes ?? 0)
            guard entries > ListedDirectories.maximumEntries else { return }
            listings = [:]
            (entries, bytes) = (0, 0)
        }
    }

    /// Entries that may be remembered at once, in all directories; then everything is forgotten and asked again.
    private static let maximumEntries = 2_000_000
    /// A directory with more is refused.
    private static let maximumDirectory = 1_000_000
    private static let maximumWarnings = 1000
    /// A listing that nobody waits for ends after so many pages: what is so large may not be wanted at all.
    private static let maximumPagesAhead = 10
    private static let maximumLarge = 10_000

    private let store: any ObjectStore
    private let prefix: ObjectPrefix
    private let pageTimeout: Duration
    private let hedger: Hedger?
    private let time: any TimeSource
    private let log: Log
    private let state = Lock(State())
    /// How long an answer, also "there is none", may be believed.
    package let timeToLive: Duration
    package let modified: UnixTime

    /// - Parameter pageTimeout: after this a request for a page of names has failed, whatever the store still tries.
    package init(
        store: any ObjectStore,
        prefix: ObjectPrefix,
        timeToLive: Duration,
        pageTimeout: Duration = .seconds(120),
        hedger: Hedger? = nil,
        time: any TimeSource = SystemTime(),
        log: Log
    ) {
        self.store = store
        self.prefix = prefix
        self.timeToLive = timeToLive
        self.pageTimeout = pageTimeout
        self.hedger = hedger
        self.time = time
        self.log = log
        modified = time.timeOfDay()
    }

    package var isFixed: Bool { false }
    /// Of what is listed: a bucket does not tell what it holds.
    package var totals: (files: Int, bytes: Int) {
        state.withLock { ($0.entries - $0.listings.count, $0.bytes) }
    }

    package func known(_ path: String) -> DirectoryListing? {
        let key = BytePath(path)
        let listing = state.withLock { $0.distrusted.contains(key) ? nil : $0.listings[key] }
        guard let listing, time.now() < listing.validUntil else { return nil }
        return listing
    }

    package func lastKnown(_ path: String) -> DirectoryListing? { state.withLock { $0.listings[BytePath(path)] } }

    package func load(_ path: String, _ completion: @escaping Completion) {
        let key = BytePath(path)
        let isFirst = state.withLock { state in
            let isFirst = state.loading[key] == nil
            state.loading[key, default: []].append(completion)
            return isFirst
        }
        if isFirst { begin(path) }
    }

    package func opened(_ path: String) {
        guard timeToLive > .zero else { return }
        let now = time.now()
        let wishes = state.withLock { state in
            var walk = state.walk
            let wishes = walk.opened(path) { path in
                let key = BytePath(path)
                let isLoading = state.loading[key] != nil || state.large.contains(key)
                guard let listing = state.listings[key] else {
                    return isLoading ? DirectoryWalk.Known(directories: [], isCurrent: true) : nil
                }
                let isCurrent = isLoading || now < listing.validUntil
                return DirectoryWalk.Known(directories: listing.directories, isCurrent: isCurrent)
            }
            state.walk = walk
            for wish in wishes { state.loading[BytePath(wish)] = [] }
            return wishes
        }
        wishes.forEach(begin)
    }

    package func distrust(_ path: String) {
        let key = BytePath(path)
        let isFirst = state.withLock { state in
            state.distrusted.insert(key)
            guard state.loading[key] == nil else { return false }
            state.loading[key] = []
            return true
        }
        if isFirst { begin(path) }
    }

    package func observe(_ changed: @escaping @Sendable (_ path: String, _ names: [EntryName]) -> Void) {
        state.withLock { $0.observer = changed }
    }

    private func begin(_ path: String) {
        Task {
            let result: Result<DirectoryListing, FilesystemError>
            do throws(ObjectStoreError) {
                guard let listing = try await self.list(path) else { return }
                result = .success(listing)
            } catch {
                self.log.error("cannot list a directory", ["path": LogValue(path), "error": LogValue(error)])
                result = .failure(error.code == .deadlineExceeded ? .timedOut : .inputOutput)
            }
            self.finish(path, result)
        }
    }

    private func finish(_ path: String, _ result: Result<DirectoryListing, FilesystemError>) {
        let key = BytePath(path)
        let now = time.now()
        let (waiting, before, observer) = state.withLock { state in
            let before = state.listings[key]
            if case .success(let listing) = result { state.remember(listing, key) }
            return (state.loading.removeValue(forKey: key) ?? [], before, state.observer)
        }
        if let observer, let before, now < before.validUntil, case .success(let listing) = result {
            let changes = before.changes(to: listing)
            if !changes.isEmpty { observer(path, changes) }
        }
        for completion in waiting { completion(result) }
    }

    /// Forgets a listing under way when nobody waits for it; whether that was so.
    private func abandon(_ path: String) -> Bool {
        let key = BytePath(path)
        return state.withLock { state in
            guard state.loading[key]?.isEmpty ?? true else { return false }
            state.loading[key] = nil
            if state.large.count < Self.maximumLarge { state.large.insert(key) }
            return true
        }
    }

    /// Nil when it was begun before anybody asked, and turned out to be too large for that.
    private func list(_ path: String) async throws(ObjectStoreError) -> DirectoryListing? {
        let directory = prefix.value + (path.isEmpty ? "" : path + "/")
        let asked = time.now()
        var entries = DirectoryEntries.Builder(base: directory)
        var pages = 0
        var request = ListRequest(prefix: directory, delimiter: "/")
        repeat {
            if pages >= Self.maximumPagesAhead, abandon(path) { return nil }
            pages += 1
            let page = try await page(request)
            // Page by page: a million descriptions of objects would take several times what becomes of them.
            var lines = page.prefixes.compactMap { self.entry(directory: $0, in: directory, isRoot: path.isEmpty) }
            lines += page.objects.compactMap { self.entry(object: $0, in: directory) }
            lines.sort { $0.name < $1.name }
            for line in lines { entries.append(line) }
            if entries.count > Self.maximumDirectory {
                throw ObjectStoreError(.invalidRequest, "more than \(Self.maximumDirectory) names in one directory")
            }
            request.pageToken = page.nextPageToken
        } while request.pageToken != nil
        let unique = entries.finish { warn(directory + $0.value, "a directory has the same name") }
        // Believed from when it was asked for: what it says may be as old as that.
        return DirectoryListing(unique, validUntil: asked.advanced(by: timeToLive))
    }

    private func page(_ request: ListRequest) async throws(ObjectStoreError) -> ListPage {
        let (store, hedger) = (store, hedger)
        return try await within(pageTimeout, of: time, "\(store.label)/\(request.prefix)") {
            () async throws(ObjectStoreError) in
            try await hedger.ask(.listing) { () async throws(ObjectStoreError) in try await store.list(request) }
        }
    }

    private func entry(directory below: String, in directory: String, isRoot: Bool) -> DirectoryEntry? {
        let bytes = below.utf8.dropFirst(directory.utf8.count).dropLast()
        let segment = String(decoding: bytes, as: UTF8.self)
        if isRoot, segment == PenstockPaths.directory { return nil }
        guard let name = EntryName(segment) else {
            warn(below, "a directory cannot have that name")
            return nil
        }
        return DirectoryEntry(directory: name, modified: modified)
    }

    private func entry(object: ObjectAttributes, in directory: String) -> DirectoryEntry? {
        let rest = object.name.value.utf8.dropFirst(directory.utf8.count)
        if rest.isEmpty { return nil }
        guard let name = EntryName(String(decoding: rest, as: UTF8.self)) else {
            warn(object.name.value, "a file cannot have that name")
            return nil
        }
        return DirectoryEntry(file: facts(object), name: name)
    }

    private func facts(_ object: ObjectAttributes) -> FileFacts {
        FileFacts(
            object: object.name,
            generation: object.generation,
            size: object.size,
            modified: object.created ?? object.updated ?? modified,
            crc32c: object.crc32c,
            sha256: object.metadata[MetadataKey.sha256],
            commit: object.metadata[MetadataKey.commit],
            link: object.linkTarget
        )
    }

    private func warn(_ name: String, _ reason: String) {
        let isNew = state.withLock { state in
            state.warned.count < Self.maximumWarnings && state.warned.insert(BytePath(name)).inserted
        }
        guard isNew else { return }
        let shown = name.unicodeScalars.prefix(200).map { $0.value < 32 || $0.value == 127 ? "?" : String($0) }.joined()
        log.warn("an object is hidden", ["object": LogValue(shown), "reason": LogValue(reason)])
    }
}
