import Manifests
import ObjectStorage
import TransferEngine

/// What became of one content: staged anew, or found to stand where it belongs.
struct StagingOutcome: Sendable {
    enum ForEntry: Sendable {
        case standing(SnapshotManifest.File)
        case staged(StagedContent)
    }

    /// Files that stand under their names already, proven.
    var standing: [SafePath: SnapshotManifest.File] = [:]
    /// For every other file of this content.
    var staged: StagedContent?

    func forEntry(_ entry: SnapshotPlan.Entry) -> ForEntry? {
        if let file = standing[entry.file.path] { return .standing(file) }
        return staged.map { .staged($0) }
    }
}

/// Brings every content of a plan to where it can be published, several at once, each once.
struct SnapshotStaging: Sendable {
    private let resources: TransferResources
    private let plan: SnapshotPlan
    private let source: any SnapshotSource

    init(_ resources: TransferResources, _ plan: SnapshotPlan, _ source: any SnapshotSource) {
        self.resources = resources
        self.plan = plan
        self.source = source
    }

    func run() async throws(SnapshotError) -> [TransferID: StagingOutcome] {
        let groups = Dictionary(grouping: plan.entries, by: \.file.hash.transfer)
        // Large ones first: the small ones fill the gaps that their last parts leave.
        let ordered = groups.sorted { ($1.value[0].file.size, $0.key.value) < ($0.value[0].file.size, $1.key.value) }
        let outcomes = try await mapConcurrently(ordered, limit: resources.options.maximumFiles) {
            group async throws(SnapshotError) in
            (group.key, try await stage(group.value))
        }
        return Dictionary(outcomes, uniquingKeysWith: { first, _ in first })
    }

    private func stage(_ entries: [SnapshotPlan.Entry]) async throws(SnapshotError) -> StagingOutcome {
        var outcome = StagingOutcome()
        for entry in entries {
            switch entry.step {
            case .keep(let file): outcome.standing[entry.file.path] = file
            case .prove(let object):
                if let file = try await proven(entry, object) { outcome.standing[entry.file.path] = file }
            case .copy, .convey: break
            }
        }
        let missing = entries.filter { outcome.standing[$0.file.path] == nil }
        guard let first = missing.first else { return outcome }
        if case .copy(let twin) = first.step {
            outcome.staged = try await copy(twin, first.file)
        } else {
            let stager = FileStager(resources, commit: source.origin.commit)
            let remains = plan.remains[first.file.hash.transfer] ?? TransferRemains()
            outcome.staged = try await stager.stage(first.file, remains) { () async throws(SnapshotError) in
                try await source.open(first.file)
            }
        }
        return outcome
    }

    /// The manifest entry of what stands under a name, when reading it back proves it; nil when it is something else.
    private func proven(
        _ entry: SnapshotPlan.Entry,
        _ object: ObjectAttributes
    ) async throws(SnapshotError) -> SnapshotManifest.File? {
        do throws(SnapshotError) {
            let digests = try await Prover(resources).prove(object, entry.file)
            return SnapshotManifest.File(
                path: entry.file.path,
                size: entry.file.size,
                sha256: digests.sha256,
                gitOID: digests.gitOID,
                crc32c: digests.crc32c,
                generation: object.generation,
                fileClass: entry.file.fileClass
            )
        } catch {
            guard error.code == .integrity || error.code == .notFound else { throw error }
            if entry.isStrangers, !resources.options.overwrite {
                let message = "\(entry.file.path) exists with the right size and other bytes, and nothing says that "
                throw SnapshotError(.conflict, message + "Penstock put it there; replace it with --overwrite")
            }
            return nil
        }
    }

    /// Stages what stands under another name by a copy on the server's side.
    private func copy(
        _ twin: SnapshotManifest.File,
        _ file: SourceFile
    ) async throws(SnapshotError) -> StagedContent {
        guard let generation = twin.generation else {
            throw SnapshotError(.internal, "\(twin.path) stands without a generation")
        }
        let stager = FileStager(resources, commit: source.origin.commit)
        let name = try stager.stagedName(file)
        let copied = try await stager.storing(file) { () async throws(ObjectStoreError) in
            let from = try resources.paths.prefix.name(twin.path.value)
            return try await resources.store.copy(from, generation, to: name, precondition: .absent, metadata: nil)
        }
        guard copied.crc32c == twin.crc32c, copied.size == twin.size else {
            throw SnapshotError(.integrity, "\(twin.path) is not what the manifest says; run penstock verify --repair")
        }
        resources.observer(.fileStaged(file.path, bytes: file.size))
        return StagedContent(
            name: copied.name,
            generation: copied.generation,
            size: twin.size,
            sha256: twin.sha256,
            gitOID: twin.gitOID,
            crc32c: twin.crc32c
        )
    }
}

extension SourceFile {
    /// The manifest's entry for it, not yet published.
    func manifestFile(_ content: StagedContent) -> SnapshotManifest.File {
        SnapshotManifest.File(
            path: path,
            size: size,
            sha256: content.sha256,
            gitOID: content.gitOID,
            crc32c: content.crc32c,
            generation: nil,
            fileClass: fileClass
        )
    }
}

extension SnapshotPlan {
    /// What the old manifest named, still stands, and is to be deleted.
    var pruned: [PublicationIntent.Pruned] {
        dropped.compactMap { file in file.generation.map { .init(path: file.path, generation: $0) } }
    }
}
