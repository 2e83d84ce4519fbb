import ArgumentParser
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import Telemetry

struct CollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc",
        abstract: "Remove what interrupted runs and replaced snapshots left below a place.",
        discussion: """
            Parts, hash states and staged files of runs that are over; replaced versions that were kept long enough; CRC
            tables of contents that are gone. Never a file that a manifest names, and nothing where a run is at work.
            """
    )

    @Argument(help: "gs://bucket[/prefix] or file:///directory")
    var destination: Destination

    @Flag(help: "Say what would be removed, and remove nothing.")
    var dryRun = false

    @Option(
        help: ArgumentHelp("Keep replaced versions this long: 90s, 15m, 24h, 7d.", valueName: "time"),
        transform: PenstockSettings.keepReplaced.parse
    )
    var keepReplaced = Settings.current[PenstockSettings.keepReplaced]

    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            let objects = try await Services(log: logging.log()).store(destination, store)
            let all: [ObjectAttributes]
            do throws(ObjectStoreError) {
                all = try await objects.listAll(prefix: destination.prefix.value)
            } catch {
                throw CommandFailure(error, while: "listing \(destination)")
            }
            var busy = 0
            for prefix in FoundSnapshot.prefixes(all) {
                if try await collect(objects, PenstockPaths(prefix)) == false { busy += 1 }
            }
            if busy > 0 { throw CommandFailure(.retryable, "\(busy) places are being worked on; run gc again later") }
        }
    }

    /// - Returns: false when another process works there.
    private func collect(_ objects: any ObjectStore, _ paths: PenstockPaths) async throws(CommandFailure) -> Bool {
        let keep = keepReplaced.duration
        let collector = GarbageCollector(objects, paths, keepReplaced: keep)
        do throws(PublicationError) {
            if dryRun {
                show(try await collector.find(), paths, objects)
                return true
            }
            guard
                case .held(let keeper) = try await LeaseKeeper.acquire(
                    objects,
                    paths,
                    purpose: "gc",
                    seconds: 60,
                    time: SystemTime(),
                    onLost: {}
                )
            else {
                standardError("penstock: \(objects.label)/\(paths.prefix) is being worked on; left alone\n")
                return false
            }
            let removed: Garbage
            do throws(PublicationError) {
                removed = try await collector.collect(Publisher(objects, paths, keeper))
            } catch {
                await keeper.release()
                throw error
            }
            await keeper.release()
            show(removed, paths, objects)
            return true
        } catch {
            throw CommandFailure(error)
        }
    }

    private func show(_ garbage: Garbage, _ paths: PenstockPaths, _ store: any ObjectStore) {
        let bytes = garbage.objects.reduce(0) { $0 + $1.size }
        let verb = dryRun ? "would remove" : "removed"
        standardOutput("\(store.label)/\(paths.prefix)  \(verb) \(garbage.objects.count) objects, ")
        let uploads = garbage.uploads.isEmpty ? "" : ", and \(garbage.uploads.count) unfinished uploads"
        standardOutput("\(HumanReadable.bytes(bytes))\(uploads)\n")
        guard dryRun else { return }
        for object in garbage.objects { standardOutput("  \(object.name)  \(object.size)\n") }
        for upload in garbage.uploads { standardOutput("  \(upload.name)  (upload)\n") }
    }
}
