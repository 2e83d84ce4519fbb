import Checksums
package import HuggingFaceHub
package import Manifests
package import ObjectStorage

/// A commit of a repository on the Hub, as a source to convey.
package final class HubSnapshot: SnapshotSource {
    package let origin: SnapshotManifest.Source
    package let filters: SnapshotManifest.Filters
    package let layout: SnapshotManifest.Layout
    package let files: [SourceFile]
    private let client: HubClient
    private let commit: HubCommit
    private let hubFiles: [SafePath: HubFile]
    /// Made here, not fetched: what a cache directory holds besides the files.
    private let generated: [SafePath: [UInt8]]

    /// Resolves the revision and lists its tree.
    ///
    /// - Parameters:
    ///   - include: patterns of which a path must match one, when there are any.
    ///   - exclude: patterns of which a path may match none.
    ///   - recorded: how the manifest names the revision, when that is not how it is asked for.
    /// - Throws: `notFound` for what is missing or gated, `usage` when a pattern makes no sense or nothing matches.
    package static func resolve(
        _ client: HubClient,
        _ repository: RepositoryID,
        _ revision: Revision,
        include: [String],
        exclude: [String],
        layout: SnapshotManifest.Layout,
        recordedAs recorded: Revision? = nil
    ) async throws(SnapshotError) -> HubSnapshot {
        do throws(HubError) {
            let filter = try FileFilter(include: include, exclude: exclude)
            let commit = try await client.commit(of: repository, at: revision)
            try await client.checkAccess(to: commit)
            let all = try await client.tree(of: commit)
            let paths = all.map(\.path.value)
            for pattern in filter.unmatchedIncludes(in: paths) {
                throw HubError(.invalidName, "no file of \(repository) at \(revision) matches --include '\(pattern)'")
            }
            let chosen = all.filter { filter.admits($0.path.value) }
            if chosen.isEmpty {
                throw HubError(
                    .invalidName,
                    "none of the \(all.count) files of \(repository) is left after the filters"
                )
            }
            if layout == .plain, let own = chosen.first(where: { PenstockPaths.isReserved($0.path) }) {
                let directory = PenstockPaths.directory
                throw HubError(
                    .invalidName,
                    "\(own.path) lies in '\(directory)', which is Penstock's own; --exclude '\(directory)/*' leaves it out"
                )
            }
            let filters = SnapshotManifest.Filters(include: include, exclude: exclude)
            return try HubSnapshot(client, commit, recorded ?? revision, chosen, filters, layout)
        } catch {
            throw SnapshotError(error)
        }
    }

    private init(
        _ client: HubClient,
        _ commit: HubCommit,
        _ revision: Revision,
        _ chosen: [HubFile],
        _ filters: SnapshotManifest.Filters,
        _ layout: SnapshotManifest.Layout
    ) throws(HubError) {
        self.client = client
        self.commit = commit
        self.filters = filters
        self.layout = layout
        origin = SnapshotManifest.Source(
            endpoint: client.configuration.endpoint,
            repository: commit.repository.id,
            type: commit.repository.kind.manifestType,
            revision: revision.name,
            commit: commit.sha.hex
        )
        var files: [SourceFile] = []
        var hubFiles: [SafePath: HubFile] = [:]
        var generated: [SafePath: [UInt8]] = [:]
        do throws(ObjectStoreError) {
            for file in chosen {
                let path = layout == .hub ? try SafePath("snapshots/\(commit.sha.hex)/\(file.path)") : file.path
                hubFiles[path] = file
                files.append(SourceFile(path: path, size: file.size, hash: ContentHash(file.hash)))
            }
            if layout == .hub, revision.name != commit.sha.hex {
                let path = try SafePath("refs/\(revision.name)")
                let content = Array(commit.sha.hex.utf8)
                generated[path] = content
                let hash = ContentHash.sha256(SHA256Digest.of(content))
                files.append(SourceFile(path: path, size: content.count, hash: hash, isGenerated: true))
            }
        } catch {
            throw HubError(.unusableListing, error.message)
        }
        self.files = files
        self.hubFiles = hubFiles
        self.generated = generated
    }

    package func open(_ file: SourceFile) async throws(SnapshotError) -> any RangedSource {
        if let content = generated[file.path] { return BytesSource(content, label: file.path.value) }
        guard let hubFile = hubFiles[file.path] else {
            throw SnapshotError(.internal, "\(file.path) is not a file of \(origin.repository)")
        }
        return client.source(for: hubFile, in: commit)
    }

    /// The directory that the official client's cache has for a repository: `models--org--name`.
    package static func cacheDirectory(_ repository: RepositoryID) -> String {
        let name = repository.id.split(separator: "/").joined(separator: "--")
        return "\(repository.kind.apiSegment)--\(name)"
    }
}

extension ContentHash {
    init(_ hash: HubContentHash) {
        switch hash {
        case .sha256(let digest): self = .sha256(digest)
        case .gitSHA1(let digest): self = .git(digest)
        }
    }
}

extension RepositoryKind {
    var manifestType: SnapshotManifest.RepositoryType {
        switch self {
        case .model: .model
        case .dataset: .dataset
        case .space: .space
        }
    }
}

extension SnapshotError {
    package init(_ error: HubError) {
        let code: Code =
            switch error.code {
            case .repositoryNotFound, .revisionNotFound, .entryNotFound, .gated, .disabled: .notFound
            case .badToken, .forbidden, .untrusted: .credentials
            case .rateLimited, .unavailable, .deadlineExceeded: .retryable
            case .integrity, .unusableListing, .notAHub, .unsupported: .integrity
            case .invalidName, .invalidRequest, .offline: .usage
            case .cancelled: .interrupted
            }
        self.init(code, error.description)
    }
}
