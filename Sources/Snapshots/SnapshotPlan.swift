import Checksums
package import Manifests
package import ObjectStorage
package import Publication
import TransferEngine

// What has to be done so that a prefix holds exactly a source's files, decided from one listing and the manifest that
// stands, before any byte moves. Pure: the same inputs give the same plan.
//
// In order of cost: *keep* what the manifest proves and the listing still shows; *copy* on the server's side what stands
// elsewhere under the prefix; *prove* what has the right size but no proof, by reading it back from the bucket; *convey*
// the rest from the source. What a stranger put under a name that we need, and cannot be what we want, is a conflict.

/// What is left of earlier transfers of one content.
package struct TransferRemains: Sendable {
    package var parts: [ObjectAttributes] = []
    package var states: [ObjectAttributes] = []
    package var uploadStates: [ObjectAttributes] = []
    package var staged: [ObjectAttributes] = []
    package init() {}

    /// Bytes that need not be fetched again, if they prove right.
    package var heldBytes: Int {
        if let staged = staged.map(\.size).max() { return staged }
        if !parts.isEmpty { return parts.reduce(0) { $0 + $1.size } }
        return uploadStates.compactMap { PenstockPaths.offset(in: $0.name) }.max() ?? 0
    }
}

/// What to do for each file of a snapshot, by what the bucket holds already.
package struct SnapshotPlan: Sendable {
    package enum Step: Sendable {
        /// Stands, as the manifest says.
        case keep(SnapshotManifest.File)
        /// The same content stands under another name.
        case copy(SnapshotManifest.File)
        /// May be it: read it back, then keep or convey.
        case prove(ObjectAttributes)
        /// Fetch from the source, going on from what is left of earlier tries.
        case convey
    }

    package struct Entry: Sendable {
        package var file: SourceFile
        package var step: Step
        /// What stands under the name now, whoever put it there.
        package var standing: ObjectAttributes?
        /// Nothing of ours says where `standing` comes from.
        package var isStrangers: Bool
    }

    package var entries: [Entry] = []
    /// Under the prefix, named by the old manifest and not by the new one.
    package var dropped: [SnapshotManifest.File] = []
    /// One sentence each about what makes this impossible without `--overwrite`, or at all.
    package var conflicts: [String] = []
    package var remains: [TransferID: TransferRemains] = [:]
    /// The manifest that stands says just this already.
    package var isComplete = false

    package init(
        origin: SnapshotManifest.Source,
        filters: SnapshotManifest.Filters,
        files: [SourceFile],
        listing: DestinationListing,
        previous: SnapshotManifest?,
        overwrite: Bool,
        keepsOthers: Bool = false,
        distrusted: Set<SafePath> = []
    ) {
        let proven = Self.proven(previous, listing).filter { !distrusted.contains($0.key) }
        let byContent = Dictionary(proven.values.map { ($0.contentHash, $0) }, uniquingKeysWith: { first, _ in first })
        for file in files {
            var entry = Self.entry(file, listing, proven, byContent)
            if distrusted.contains(file.path) { entry.isStrangers = false }
            if case .convey = entry.step, entry.isStrangers, !overwrite { conflicts.append(Self.complaint(entry)) }
            entries.append(entry)
        }
        let wanted = Set(files.map(\.path))
        dropped = proven.values.filter { !wanted.contains($0.path) }.sorted { $0.path < $1.path }
        conflicts += Self.collisions(wanted, listing)
        for file in files { gather(file.hash.transfer, listing) }
        isComplete =
            previous?.source == origin && previous?.filters == filters
            && (keepsOthers || previous?.files.count == files.count)
            && entries.allSatisfy { if case .keep = $0.step { true } else { false } }
    }

    private mutating func gather(_ transfer: TransferID, _ listing: DestinationListing) {
        if remains[transfer] != nil { return }
        var found = TransferRemains()
        found.parts = listing.parts[transfer.value] ?? []
        found.states = listing.states[transfer.value] ?? []
        found.uploadStates = listing.uploadStates[transfer.value] ?? []
        found.staged = listing.staged[transfer.value] ?? []
        remains[transfer] = found
    }

    /// The files of the old manifest that still stand as it says, with their CRC tables.
    private static func proven(
        _ previous: SnapshotManifest?,
        _ listing: DestinationListing
    ) -> [SafePath: SnapshotManifest.File] {
        var proven: [SafePath: SnapshotManifest.File] = [:]
        for file in previous?.files ?? [] {
            guard let standing = listing.files[file.path], standing.generation == file.generation,
                standing.size == file.size, standing.crc32c == file.crc32c,
                !file.needsTable || listing.crcTables[file.sha256.description] != nil
            else { continue }
            proven[file.path] = file
        }
        return proven
    }

    private static func entry(
        _ file: SourceFile,
        _ listing: DestinationListing,
        _ proven: [SafePath: SnapshotManifest.File],
        _ byContent: [ContentHash: SnapshotManifest.File]
    ) -> Entry {
        let standing = listing.files[file.path]
        let known = proven[file.path]
        let isOurs = known != nil || standing?.metadata[MetadataKey.sha256] != nil
        let step: Step
        if let known, known.contentHash == file.hash, known.size == file.size {
            step = .keep(known)
        } else if let twin = byContent[file.hash], twin.size == file.size {
            step = .copy(twin)
        } else if let standing, known == nil, standing.size == file.size, standing.contentEncoding == nil {
            step = .prove(standing)
        } else {
            step = .convey
        }
        return Entry(file: file, step: step, standing: standing, isStrangers: standing != nil && !isOurs)
    }

    private static func complaint(_ entry: Entry) -> String {
        let size = entry.standing?.size ?? 0
        return "\(entry.file.path) exists with \(size) bytes where \(entry.file.size) are expected, and nothing says "
            + "that Penstock put it there"
    }

    /// Names that would be file and directory at once.
    private static func collisions(_ wanted: Set<SafePath>, _ listing: DestinationListing) -> [String] {
        // Names are bytes: to `String` two spellings of one text would be equal.
        let wantedDirectories = Set(wanted.flatMap(\.directories).compactMap { try? SafePath($0) })
        var found: [String] = []
        for path in listing.files.keys where !wanted.contains(path) {
            if wantedDirectories.contains(path) {
                found.append("\(path) exists as a file, and the snapshot has files below that name")
            }
            for directory in path.directories where (try? SafePath(directory)).map(wanted.contains) ?? false {
                found.append("\(directory) is a file of the snapshot, and \(path) exists below that name")
            }
        }
        return found.sorted()
    }
}

extension SnapshotManifest.File {
    /// The hash by which the repository knows it.
    package var contentHash: ContentHash { gitOID.map { .git($0) } ?? .sha256(sha256) }
    /// One granule needs no table: the object's own CRC32C is it.
    package var needsTable: Bool { size > UnitPlan.granule }
}

/// What a plan comes to, for people and for `--json`.
package struct PlanSummary: Hashable, Sendable {
    package var files = 0
    package var bytes = 0
    package var keptFiles = 0
    package var keptBytes = 0
    package var copiedFiles = 0
    package var copiedBytes = 0
    package var provenFiles = 0
    package var provenBytes = 0
    package var conveyedFiles = 0
    package var conveyedBytes = 0
    /// Of the conveyed bytes, those that earlier tries left in the bucket.
    package var resumedBytes = 0
    package var replacedFiles = 0
    package var droppedFiles = 0

    /// Everything stands already.
    package init(keeping manifest: SnapshotManifest) {
        files = manifest.files.count
        bytes = manifest.totalSize
        keptFiles = files
        keptBytes = bytes
    }

    package init(_ plan: SnapshotPlan) {
        var counted = Set<TransferID>()
        for entry in plan.entries {
            let size = entry.file.size
            files += 1
            bytes += size
            switch entry.step {
            case .keep:
                keptFiles += 1
                keptBytes += size
            case .copy:
                copiedFiles += 1
                copiedBytes += size
            case .prove:
                provenFiles += 1
                provenBytes += size
            case .convey:
                conveyedFiles += 1
                let transfer = entry.file.hash.transfer
                if counted.insert(transfer).inserted {
                    conveyedBytes += size
                    resumedBytes += min(size, plan.remains[transfer]?.heldBytes ?? 0)
                }
                if entry.standing != nil { replacedFiles += 1 }
            }
        }
        droppedFiles = plan.dropped.count
    }
}
