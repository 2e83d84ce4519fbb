import Glibc
import LinuxPlatform

/// The repositories below a root directory: `models/ORG/NAME`, `datasets/ORG/NAME`, `spaces/ORG/NAME`.
///
/// A plain directory of files is a repository with the branch `main`, whose commit id stands in `.commit` or follows
/// from the content. With a `repo.json` it is what that says; see `HubRepositorySettings`.
final class HubCatalog: Sendable {
    /// A repository as it is now.
    struct Entry: Sendable {
        let name: HubRepositoryName
        let directory: String
        let settings: HubRepositorySettings
        let isPlain: Bool
    }

    /// Why a name leads nowhere.
    enum Failure: Error, Sendable {
        case noRepository
        case noRevision
        case unreadable(Errno)
    }

    private struct State {
        var settings: [HubRepositoryName: HubRepositorySettings] = [:]
        var snapshots: [String: HubSnapshot] = [:]
    }

    private let root: String
    private let hashes: FileHashes
    private let state = Lock(State())

    /// - Parameter hashDirectory: where hashes are remembered.
    init(root: String, hashDirectory: String) {
        self.root = root
        hashes = FileHashes(directory: hashDirectory)
    }

    func entry(_ name: HubRepositoryName) -> Entry? {
        let parts = name.id.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.contains("\0") })
        else {
            return nil
        }
        let directory = "\(root)/\(name.key)"
        guard isDirectory(directory) else { return nil }
        let record = contents(of: "\(directory)/repo.json")
        // A name space is a directory too; a repository without one says that it is one.
        if parts.count == 1, record == nil, contents(of: "\(directory)/.commit") == nil { return nil }
        var settings = HubRepositorySettings()
        if let json = record.flatMap({ JSONValue(parsing: $0) }) { settings.merge(json) }
        let isPlain = settings.commits.isEmpty
        if let changed = state.withLock({ $0.settings[name] }) {
            settings = changed
        }
        return Entry(name: name, directory: directory, settings: settings, isPlain: isPlain && settings.commits.isEmpty)
    }

    /// All repositories there are.
    var names: [HubRepositoryName] {
        HubRepositoryKind.allCases.flatMap { kind -> [HubRepositoryName] in
            Emulators.names(in: "\(root)/\(kind.rawValue)").flatMap { first -> [HubRepositoryName] in
                let single = HubRepositoryName(first, kind: kind)
                if entry(single) != nil { return [single] }
                return Emulators.names(in: "\(root)/\(kind.rawValue)/\(first)").map {
                    HubRepositoryName("\(first)/\($0)", kind: kind)
                }.filter { entry($0) != nil }
            }
        }
    }

    /// Where a former name leads; nil when it is none.
    func presentName(of former: HubRepositoryName) -> HubRepositoryName? {
        names.first { $0.kind == former.kind && entry($0)?.settings.formerNames.contains(former.id) == true }
    }

    func change(_ name: HubRepositoryName, _ body: (inout HubRepositorySettings) -> Void) throws(Failure) {
        guard let entry = entry(name) else { throw .noRepository }
        var settings = entry.settings
        if entry.isPlain {
            // Its one commit keeps its name when others join it.
            let commit = try plainSnapshot(entry).commit
            settings.commits[commit] = "."
            if settings.branches["main"] == nil { settings.branches["main"] = commit }
        }
        body(&settings)
        state.withLock { $0.settings[name] = settings }
    }

    /// Branches and tags with their commits.
    func references(_ entry: Entry) throws(Failure) -> (branches: [String: String], tags: [String: String]) {
        var branches = entry.settings.branches
        if entry.isPlain { branches["main"] = try plainSnapshot(entry).commit }
        return (branches, entry.settings.tags)
    }

    /// The files that a revision names now.
    ///
    /// - Parameter revision: a branch, a tag, `refs/heads/…`, `refs/pr/…`, a commit, or at least 7 digits of one.
    func snapshot(_ entry: Entry, revision: String) throws(Failure) -> HubSnapshot {
        let (branches, tags) = try references(entry)
        let short = revision.hasPrefix("refs/heads/") ? String(revision.dropFirst(11)) : revision
        let named = branches[short] ?? tags[short] ?? revision
        guard !entry.isPlain else {
            let snapshot = try plainSnapshot(entry)
            guard denotes(named, snapshot.commit) else {
                // A commit that was handed out before the files changed is still answered for.
                guard let old = remembered(entry, named) else { throw .noRevision }
                return old
            }
            return snapshot
        }
        let matching = entry.settings.commits.keys.filter { denotes(named, $0) }
        guard matching.count == 1, let commit = matching.first, let directory = entry.settings.commits[commit] else {
            throw .noRevision
        }
        return try snapshot(entry, directory: directory, commit: commit)
    }

    private func denotes(_ revision: String, _ commit: String) -> Bool {
        revision == commit || (revision.utf8.count >= 7 && revision.utf8.count < 40 && commit.hasPrefix(revision))
    }

    private func remembered(_ entry: Entry, _ commit: String) -> HubSnapshot? {
        state.withLock { $0.snapshots["\(entry.name.key)@\(commit)"] }
    }

    private func plainSnapshot(_ entry: Entry) throws(Failure) -> HubSnapshot {
        let text = contents(of: "\(entry.directory)/.commit", limit: 200).map { String(decoding: $0, as: UTF8.self) }
        return try snapshot(entry, directory: ".", commit: text.map { String($0.prefix(40)) })
    }

    private func snapshot(_ entry: Entry, directory: String, commit: String?) throws(Failure) -> HubSnapshot {
        do throws(Errno) {
            let path = directory.hasPrefix("/") ? directory : "\(entry.directory)/\(directory)"
            let snapshot = try HubSnapshot(directory: path, commit: commit, hashes: hashes)
            state.withLock { $0.snapshots["\(entry.name.key)@\(snapshot.commit)"] = snapshot }
            return snapshot
        } catch {
            throw .unreadable(error)
        }
    }
}
