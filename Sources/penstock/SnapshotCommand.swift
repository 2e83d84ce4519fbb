import ArgumentParser
import Configuration
import HuggingFaceHub
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import Telemetry

extension SnapshotManifest.Layout: ExpressibleByArgument {}

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Convey a repository from the Hub into a bucket, without a disk, every byte proven.",
        discussion: """
            penstock snapshot meta-llama/Llama-2-7b-hf gs://ai-models/llama2-7b
            penstock snapshot acme/tiny gs://ai-models/tiny --include '*.safetensors' --include '*.json'
            penstock snapshot acme/tiny gs://ai-models/hf-cache --layout hub

            Nothing appears under its name before its hash matched the Hub's. Interrupted anywhere, the same command goes
            on from what the bucket has acknowledged. Two of them for one destination do the work once. An update keeps
            the old version readable for mounts until the new one is complete, and for --keep-replaced after that.
            """
    )

    @Argument(help: "org/name, datasets/org/name, spaces/org/name, or hf://[datasets/|spaces/]org/name[@revision]")
    var repository: String

    @Argument(help: "gs://bucket/prefix or file:///directory")
    var destination: Destination

    @Option(help: ArgumentHelp("Branch, tag, commit or refs/pr/N. (default: main)", valueName: "revision"))
    var revision: String?

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Only files whose path matches (* also matches /). Repeatable; one that matches nothing is an error.",
            valueName: "glob"
        )
    )
    var include: [String] = []

    @Option(parsing: .singleValue, help: ArgumentHelp("No files whose path matches. Repeatable.", valueName: "glob"))
    var exclude: [String] = []

    @Option(
        name: [.customLong("repo-type"), .customLong("type")],
        help: ArgumentHelp("model, dataset or space. (default: model)", valueName: "type")
    )
    var repositoryType: String?

    @Option(help: ArgumentHelp("Hub token; better HF_TOKEN, which ps does not show.", valueName: "token"))
    var token: String?

    @Option(help: ArgumentHelp("plain: files as in the repository. hub: a working HF_HUB_CACHE.", valueName: "layout"))
    var layout: SnapshotManifest.Layout = .plain

    @Flag(help: "Say what would be done, and do nothing.")
    var dryRun = false

    @Flag(help: "Replace objects under our names that nothing says are ours.")
    var overwrite = false

    @Flag(help: "Delete what the previous snapshot had and this one does not.")
    var prune = false

    @Flag(help: "Go on without a manifest that cannot be read: prove every file anew and record it.")
    var rebuildManifest = false

    @Option(
        help: ArgumentHelp(
            "How long mounts of the replaced version can still read it: 90s, 15m, 24h, 7d.",
            valueName: "time"
        ),
        transform: PenstockSettings.keepReplaced.parse
    )
    var keepReplaced = Settings.current[PenstockSettings.keepReplaced]

    @Option(
        help: ArgumentHelp(
            "Time to live of the lease on the destination: after how long another run may take over from a dead one.",
            valueName: "seconds",
            visibility: .hidden
        )
    )
    var leaseSeconds = ConveyorOptions().leaseSeconds

    @Option(help: ArgumentHelp("Bytes between two saved hash states.", valueName: "bytes", visibility: .hidden))
    var markInterval = ConveyorOptions().markInterval

    @OptionGroup var transfer: TransferOptions
    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func validate() throws {
        guard (1...86_400).contains(leaseSeconds) else { throw ValidationError("--lease-seconds is 1 to 86400") }
        guard markInterval >= 1 << 20 else { throw ValidationError("--mark-interval is at least 1048576") }
    }

    func run() async throws {
        let command = self
        try await reporting { () async throws(CommandFailure) in
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do throws(CommandFailure) { return .success(try await command.convey()) } catch {
                    return .failure(error)
                }
            }
            try result.get()
        }
    }

    private func convey() async throws(CommandFailure) {
        let display = ConveyanceDisplay(ConveyanceDisplay.style(json: transfer.json, quiet: transfer.quiet))
        let services = try Services(log: logging.log(display))
        let observer = HubObserver(
            onWait: { wait in
                let advice = wait.isAnonymous ? "; a token (HF_TOKEN) raises the limit" : ""
                let length = HumanReadable.duration(wait.duration)
                display.waiting("waiting \(length) for the Hub's rate limit\(advice)")
            },
            onWarning: { topic, message in standardError("penstock: the Hub warns (\(topic)): \(message)\n") }
        )
        let hub = try services.hub(token: token, workers: transfer.maxWorkers, observer: observer)
        do throws(SnapshotError) {
            let reference = try Self.reference(repository, repositoryType, revision)
            let objects = try await services.snapshotStore(destination, store)
            let conveyor = Conveyor(
                to: objects,
                prefix: prefix(reference.repository),
                options: options(services),
                time: SystemTime(),
                observer: display.observer
            )
            if hub.configuration.isOffline { return try await offline(conveyor, reference) }
            let source = try await HubSnapshot.resolve(
                hub,
                reference.repository,
                reference.revision,
                include: include,
                exclude: exclude,
                layout: layout
            )
            if dryRun { return try await showPlan(conveyor, source) }
            let report = try await conveyor.convey(source)
            display.clear()
            show(report, conveyor)
        } catch {
            display.clear()
            throw failure(error)
        }
    }

    private func failure(_ error: SnapshotError) -> CommandFailure {
        var failure = CommandFailure(error)
        if error.isResumable || error.code == .interrupted {
            failure.message += "\nwhat is done is kept: the same command goes on from there"
        }
        return failure
    }

    private func options(_ services: Services) -> ConveyorOptions {
        var options = transfer.conveyor
        options.throttle = services.throttle
        options.overwrite = overwrite
        options.prune = prune
        options.rebuildManifest = rebuildManifest
        options.keepReplaced = keepReplaced.duration
        options.leaseSeconds = leaseSeconds
        options.markInterval = markInterval
        return options
    }

    private func prefix(_ repository: RepositoryID) -> ObjectPrefix {
        guard layout == .hub else { return destination.prefix }
        return ObjectPrefix(destination.prefix.value + HubSnapshot.cacheDirectory(repository))
    }

    /// A repository and its revision from what the user wrote.
    static func reference(
        _ text: String,
        _ type: String?,
        _ revision: String?
    ) throws(SnapshotError) -> (repository: RepositoryID, revision: Revision) {
        do throws(HubError) {
            var kind: RepositoryKind?
            if let type {
                guard let named = RepositoryKind.allCases.first(where: { $0.rawValue == type }) else {
                    throw HubError(.invalidName, "--repo-type is model, dataset or space, not '\(type)'")
                }
                kind = named
            }
            let reference = try RepositoryReference(text, kind: kind)
            if reference.path != nil {
                throw HubError(.invalidName, "'\(text)' names a file; name the repository and choose with --include")
            }
            if reference.revision != nil, revision != nil {
                throw HubError(.invalidName, "the revision is given twice: in '\(text)' and with --revision")
            }
            let asked = try revision.map { name throws(HubError) in try Revision(name) }
            return (reference.repository, asked ?? reference.revision ?? .main)
        } catch {
            throw SnapshotError(error)
        }
    }
}

// MARK: - Output

extension SnapshotCommand {
    private func showPlan(_ conveyor: Conveyor, _ source: HubSnapshot) async throws(SnapshotError) {
        let plan = try await conveyor.plan(source)
        let summary = PlanSummary(plan)
        if transfer.json {
            standardOutput((EventJSON.line(.planned(summary)) ?? "") + "\n")
        } else {
            standardOutput("\(source.origin.repository) at \(source.origin.commit): \(summary.sentence)\n")
            for entry in plan.entries {
                standardOutput("  \(entry.step.word)  \(HumanReadable.bytes(entry.file.size))  \(entry.file.path)\n")
            }
        }
        guard plan.conflicts.isEmpty else {
            throw SnapshotError(.conflict, "this cannot be done:\n  " + plan.conflicts.joined(separator: "\n  "))
        }
    }

    private func show(_ report: ConveyanceReport, _ conveyor: Conveyor) {
        let manifest = report.manifest
        let place = "\(conveyor.store.label)/\(conveyor.paths.prefix)"
        if transfer.json {
            let source = manifest.source
            standardOutput(
                "{\"event\":\"result\",\"outcome\":\"\(report.outcome.rawValue)\",\"destination\":"
                    + "\(EventJSON.quoted(place)),\"repository\":\(EventJSON.quoted(source.repository)),"
                    + "\"commit\":\"\(source.commit)\",\"files\":\(manifest.files.count),"
                    + "\"bytes\":\(manifest.totalSize)}\n"
            )
            return
        }
        let size = "\(manifest.files.count) files, \(HumanReadable.bytes(manifest.totalSize))"
        let text: String =
            switch report.outcome {
            case .unchanged: "is there already"
            case .conveyed: "conveyed and proven"
            case .adopted: "conveyed by another process, adopted"
            }
        standardOutput("\(place)  \(manifest.source.repository)@\(manifest.source.commit)  \(size)  \(text)\n")
    }

    /// Without the Hub only what stands already can be confirmed.
    private func offline(
        _ conveyor: Conveyor,
        _ reference: (repository: RepositoryID, revision: Revision)
    ) async throws(SnapshotError) {
        let standing: SnapshotManifest?
        do throws(PublicationError) {
            standing = try await SnapshotManifest.standing(conveyor.store, conveyor.paths)?.manifest
        } catch {
            throw SnapshotError(error)
        }
        let asked = reference.revision.name
        guard let standing, standing.source.repository == reference.repository.id,
            standing.source.commit == asked || standing.source.revision == asked
        else {
            let message = "offline (HF_HUB_OFFLINE), and \(destination) does not hold "
            throw SnapshotError(.notFound, message + "\(reference.repository) at \(asked)")
        }
        let report = ConveyanceReport(outcome: .unchanged, plan: PlanSummary(keeping: standing), manifest: standing)
        show(report, conveyor)
    }
}

extension SnapshotPlan.Step {
    fileprivate var word: String {
        switch self {
        case .keep: "keep  "
        case .copy: "copy  "
        case .prove: "prove "
        case .convey: "convey"
        }
    }
}

extension Services {
    func snapshotStore(
        _ destination: Destination,
        _ options: StoreOptions
    ) async throws(SnapshotError) -> any ObjectStore {
        do throws(CommandFailure) {
            return try await store(destination, options, makesDirectory: true)
        } catch {
            throw SnapshotError(SnapshotError.Code(exitCode: error.status.rawValue), error.message)
        }
    }
}

extension SnapshotError.Code {
    /// Of a failure that was one already.
    fileprivate init(exitCode: Int32) {
        switch exitCode {
        case 2: self = .usage
        case 3: self = .integrity
        case 4: self = .notFound
        case 5: self = .credentials
        case 6, 7: self = .retryable
        default: self = .internal
        }
    }
}
