package import LinuxPlatform
import Manifests
package import ObjectStorage
package import Telemetry

/// The directories of a prefix as its listings show them: one listing with a delimiter for each directory, believed for a
/// while, also in what it does not hold.
///
/// Objects whose names cannot be files are hidden, each with one warning: empty segments (`//`), `.` and `..`, segments
/// over 255 bytes, an object named like a directory beside it. An object that is only a directory's mark (`dir/`) is
/// hidden silently, and so is Penstock's own directory.
package final class ListedDirectories: DirectorySource {
    package typealias Completion = @Sendable (Result<DirectoryListing, FilesystemError>) -> Void

    private struct State {
        var listings: [BytePath: DirectoryListing] = [:]
        var loading: [BytePath: [Completion]] = [:]
        var warned: Set<BytePath> = []
        var entries = 0
    }

    /// Entries that may be remembered at once, in all directories; then everything is forgotten and asked again.
    private static let maximumEntries = 2_000_000
    /// A directory with more is refused.
    private static let maximumDirectory = 1_000_000
    private static let maximumWarnings = 1000

    private let store: any ObjectStore
    private let prefix: ObjectPrefix
    private let time: any TimeSource
    private let log: Log
    private let state = Lock(State())
    package let timeToLive: Duration
    package let modified: UnixTime

    package init(
        store: any ObjectStore,
        prefix: ObjectPrefix,
        timeToLive: Duration,
        time: any TimeSource = SystemTime(),
        log: Log
    ) {
        self.store = store
        self.prefix = prefix
        self.timeToLive = timeToLive
        self.time = time
        self.log = log
        modified = time.timeOfDay()
    }

    package var isFixed: Bool { false }
    package var totals: (files: Int, bytes: Int) { (0, 0) }

    package func known(_ path: String) -> DirectoryListing? {
        let listing = state.withLock { $0.listings[BytePath(path)] }
        guard let listing, time.now() < listing.validUntil else { return nil }
        return listing
    }

    package func load(_ path: String, _ completion: @escaping Completion) {
        let key = BytePath(path)
        let isFirst = state.withLock { state in
            state.loading[key, default: []].append(completion)
            return state.loading[key]?.count == 1
        }
        guard isFirst else { return }
        Task {
            let result: Result<DirectoryListing, FilesystemError>
            do throws(ObjectStoreError) {
                result = .success(try await self.list(path))
            } catch {
                self.log.error("cannot list a directory", ["path": LogValue(path), "error": LogValue(error)])
                result = .failure(error.code == .deadlineExceeded ? .timedOut : .inputOutput)
            }
            let waiting = self.remember(result, key)
            for completion in waiting { completion(result) }
        }
    }

    private func remember(_ result: Result<DirectoryListing, FilesystemError>, _ key: BytePath) -> [Completion] {
        state.withLock { state in
            if case .success(let listing) = result {
                state.entries += listing.entries.count + 1 - (state.listings[key].map { $0.entries.count + 1 } ?? 0)
                state.listings[key] = listing
                if state.entries > Self.maximumEntries {
                    state.listings = [:]
                    state.entries = 0
                }
            }
            return state.loading.removeValue(forKey: key) ?? []
        }
    }

    private func list(_ path: String) async throws(ObjectStoreError) -> DirectoryListing {
        let directory = prefix.value + (path.isEmpty ? "" : path + "/")
        let asked = time.now()
        var objects: [ObjectAttributes] = []
        var prefixes: [String] = []
        var request = ListRequest(prefix: directory, delimiter: "/")
        repeat {
            let page = try await store.list(request)
            objects += page.objects
            prefixes += page.prefixes
            if objects.count + prefixes.count > Self.maximumDirectory {
                throw ObjectStoreError(.invalidRequest, "more than \(Self.maximumDirectory) names in one directory")
            }
            request.pageToken = page.nextPageToken
        } while request.pageToken != nil
        let entries = entries(objects, prefixes, in: directory, isRoot: path.isEmpty)
        // Believed from when it was asked for: what it says may be as old as that.
        return DirectoryListing(entries, validUntil: asked.advanced(by: timeToLive))
    }

    private func entries(
        _ objects: [ObjectAttributes],
        _ prefixes: [String],
        in directory: String,
        isRoot: Bool
    ) -> [DirectoryEntry] {
        var entries: [EntryName: DirectoryEntry] = [:]
        for below in prefixes {
            let bytes = below.utf8.dropFirst(directory.utf8.count).dropLast()
            let segment = String(decoding: bytes, as: UTF8.self)
            if isRoot, segment == PenstockPaths.directory { continue }
            guard let name = EntryName(segment) else {
                warn(below, "a directory cannot have that name")
                continue
            }
            entries[name] = DirectoryEntry(directory: name, modified: modified)
        }
        for object in objects {
            let rest = object.name.value.utf8.dropFirst(directory.utf8.count)
            if rest.isEmpty { continue }
            guard let name = EntryName(String(decoding: rest, as: UTF8.self)) else {
                warn(object.name.value, "a file cannot have that name")
                continue
            }
            guard entries[name] == nil else {
                warn(object.name.value, "a directory has the same name")
                continue
            }
            entries[name] = DirectoryEntry(file: facts(object), name: name)
        }
        return Array(entries.values)
    }

    private func facts(_ object: ObjectAttributes) -> FileFacts {
        FileFacts(
            object: object.name,
            generation: object.generation,
            size: object.size,
            modified: object.created ?? object.updated ?? modified,
            crc32c: object.crc32c,
            sha256: object.metadata[MetadataKey.sha256],
            commit: object.metadata[MetadataKey.commit]
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
