import ArgumentParser
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import Telemetry

/// Snapshots below a place, found by their manifests.
struct FoundSnapshot {
    var prefix: ObjectPrefix
    var manifest: Result<SnapshotManifest, PublicationError>
    /// Everything of Penstock's own that is not needed to read the snapshot.
    var temporaryBytes: Int
    /// Everything under the prefix.
    var totalBytes: Int

    /// Lists everything below `prefix` and sorts it by snapshot.
    static func find(_ store: any ObjectStore, _ prefix: ObjectPrefix) async throws(CommandFailure) -> [FoundSnapshot] {
        let objects: [ObjectAttributes]
        do throws(ObjectStoreError) {
            objects = try await store.listAll(prefix: prefix.value)
        } catch {
            throw CommandFailure(error, while: "listing \(store.label)/\(prefix)")
        }
        var found: [FoundSnapshot] = []
        for prefix in prefixes(objects) {
            let paths = PenstockPaths(prefix)
            let own = objects.filter { prefix.path(of: $0.name) != nil }
            let listing = DestinationListing(own, paths)
            let manifest = await standing(store, paths)
            guard let manifest else { continue }
            found.append(
                FoundSnapshot(
                    prefix: prefix,
                    manifest: manifest,
                    temporaryBytes: listing.temporaries.reduce(0) { $0 + $1.size },
                    totalBytes: own.reduce(0) { $0 + $1.size }
                )
            )
        }
        return found
    }

    /// Every prefix that holds a directory of ours.
    static func prefixes(_ objects: [ObjectAttributes]) -> [ObjectPrefix] {
        var prefixes = Set<String>()
        for object in objects {
            let segments = object.name.value.split(separator: "/", omittingEmptySubsequences: false)
            guard let index = segments.firstIndex(where: { $0 == PenstockPaths.directory }) else { continue }
            prefixes.insert(segments[..<index].joined(separator: "/"))
        }
        return prefixes.sorted().map { ObjectPrefix($0) }
    }

    private static func standing(
        _ store: any ObjectStore,
        _ paths: PenstockPaths
    ) async -> Result<SnapshotManifest, PublicationError>? {
        do throws(PublicationError) {
            return try await SnapshotManifest.standing(store, paths).map { .success($0.manifest) }
        } catch {
            return .failure(error)
        }
    }
}

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the snapshots below a place, or the files of one.",
        discussion: "With the path of a snapshot and --long its files are listed with their hashes."
    )

    @Argument(help: "gs://bucket[/prefix] or file:///directory")
    var destination: Destination

    @Flag(name: [.short, .long], help: "The files of each snapshot, with size, SHA-256 and generation.")
    var long = false

    @Flag(help: "One JSON object a line.")
    var json = false

    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            let objects = try await Services(log: logging.log()).store(destination, store)
            let found = try await FoundSnapshot.find(objects, destination.prefix)
            for snapshot in found { show(snapshot, objects.label) }
            if found.isEmpty { throw CommandFailure(.notFound, "no snapshots below \(destination)") }
            let unreadable = found.count { if case .failure = $0.manifest { true } else { false } }
            if unreadable > 0 {
                throw CommandFailure(.integrity, "\(unreadable) of \(found.count) manifests cannot be read")
            }
        }
    }

    private func show(_ snapshot: FoundSnapshot, _ label: String) {
        let place = "\(label)/\(snapshot.prefix)"
        switch snapshot.manifest {
        case .failure(let error): standardError("penstock: \(error.message)\n")
        case .success(let manifest):
            let source = manifest.source
            if json {
                standardOutput(
                    "{\"prefix\":\(EventJSON.quoted(place)),\"repository\":\(EventJSON.quoted(source.repository)),"
                        + "\"type\":\"\(source.type.rawValue)\",\"revision\":\(EventJSON.quoted(source.revision)),"
                        + "\"commit\":\"\(source.commit)\",\"created\":\"\(manifest.created)\","
                        + "\"files\":\(manifest.files.count),\"bytes\":\(manifest.totalSize)}\n"
                )
            } else {
                let size = HumanReadable.bytes(manifest.totalSize)
                let commit = source.commit.prefix(12)
                standardOutput("\(place)  \(source.repository)@\(commit)  \(manifest.files.count) files  \(size)  ")
                standardOutput("\(manifest.created)\n")
            }
            if long { for file in manifest.files { show(file) } }
        }
    }

    private func show(_ file: SnapshotManifest.File) {
        let generation = file.generation.map(\.description) ?? ""
        if json {
            standardOutput(
                "{\"path\":\(EventJSON.quoted(file.path.value)),\"bytes\":\(file.size),\"sha256\":\"\(file.sha256)\","
                    + "\"crc32c\":\"\(file.crc32c)\",\"generation\":\"\(generation)\"}\n"
            )
        } else {
            standardOutput("  \(file.sha256)  \(file.size)  \(generation)  \(file.path)\n")
        }
    }
}

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "du",
        abstract: "How many bytes each snapshot below a place takes, and how many of them are leftovers."
    )

    @Argument(help: "gs://bucket[/prefix] or file:///directory")
    var destination: Destination

    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            let objects = try await Services(log: logging.log()).store(destination, store)
            let found = try await FoundSnapshot.find(objects, destination.prefix)
            for snapshot in found {
                let total = HumanReadable.bytes(snapshot.totalBytes)
                let left =
                    snapshot.temporaryBytes > 0 ? "  (\(HumanReadable.bytes(snapshot.temporaryBytes)) temporary)" : ""
                standardOutput("\(total)  \(objects.label)/\(snapshot.prefix)\(left)\n")
            }
            if found.isEmpty { throw CommandFailure(.notFound, "no snapshots below \(destination)") }
        }
    }
}
