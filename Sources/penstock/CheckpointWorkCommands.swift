import ArgumentParser
import Checkpoints
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage
import Telemetry

struct CheckpointVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read every byte of a recorded checkpoint and compare; exit 3 when anything differs."
    )

    @OptionGroup var options: CheckpointOptions
    @OptionGroup var reading: CheckpointReadingOptions

    @Argument(help: "Names below the run; without any, the latest complete one.")
    var names: [String] = []

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            var names: [CheckpointName] = []
            for name in command.names { names.append(try CheckpointOptions.name(name)) }
            if names.isEmpty {
                guard let latest = LatestRule().choose(try await catalog.read()) else {
                    throw CommandFailure(.notFound, "no complete checkpoint below \(catalog.place)")
                }
                names = [latest.name]
            }
            let verifier = CheckpointVerifier(catalog, command.reading.reading, time: SystemTime())
            var problems = 0
            for name in names {
                let report = try await verifier.verify(name)
                problems += report.problems.count
                command.show(report, catalog)
            }
            if problems > 0 { throw CommandFailure(.integrity, "\(problems) files are not as they were recorded") }
        }
    }

    private func show(_ report: CheckpointReport, _ catalog: CheckpointCatalog) {
        for problem in report.problems {
            if options.json {
                standardOutput(
                    "{\"event\":\"problem\",\"path\":\(EventJSON.quoted(problem.path.value)),\"fault\":"
                        + "\"\(problem.fault.rawValue)\",\"message\":\(EventJSON.quoted(problem.message))}\n"
                )
            } else {
                standardOutput("\(problem.fault.rawValue)  \(problem.path): \(problem.message)\n")
            }
        }
        if options.json {
            let name = EventJSON.quoted(report.record.name.description)
            standardOutput(
                "{\"event\":\"verified\",\"name\":\(name),\"verified_files\":\(report.verifiedFiles),"
                    + "\"verified_bytes\":\(report.verifiedBytes),\"problems\":\(report.problems.count)}\n"
            )
        } else {
            let bytes = HumanReadable.bytes(report.verifiedBytes)
            standardOutput("\(catalog.place)/\(report.record.name)  \(report.verifiedFiles) files, \(bytes) proven\n")
        }
    }
}

struct CheckpointPullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull",
        abstract: "Fetch a recorded checkpoint to a local directory, every byte compared.",
        discussion: """
            The directory appears when all of it is there. What an interrupted pull has fetched stands beside it, in
            DIR.penstock-partial, and the same command goes on from there.
            """
    )

    @OptionGroup var options: CheckpointOptions
    @OptionGroup var reading: CheckpointReadingOptions

    @Argument(help: "The checkpoint's name below the run.")
    var name: String

    @Argument(help: ArgumentHelp("The directory to make.", valueName: "dir"))
    var directory: String

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            let name = try CheckpointOptions.name(command.name)
            let pull = try CheckpointPull(catalog, command.reading.reading, time: SystemTime())
            let report = try await pull.pull(name, to: command.directory)
            if command.options.json {
                standardOutput(
                    "{\"event\":\"pulled\",\"name\":\(EventJSON.quoted(name.description)),\"files\":"
                        + "\(report.record.files.count),\"fetched_bytes\":\(report.fetched),\"kept_bytes\":\(report.kept)}\n"
                )
            } else {
                let fetched = HumanReadable.bytes(report.fetched)
                let kept = report.kept > 0 ? ", \(HumanReadable.bytes(report.kept)) were there" : ""
                standardOutput("\(command.directory)  \(report.record.files.count) files, \(fetched) fetched\(kept)\n")
            }
        }
    }
}

struct CheckpointRecoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Bring a recorded checkpoint back whose files were removed or replaced.",
        discussion: """
            From copies that commit --keep-aside made, or from older versions that the bucket still has. Nothing is changed
            unless every file can be brought back. Where the bucket only has soft-deleted objects, it says how to restore them.
            """
    )

    @OptionGroup var options: CheckpointOptions

    @Argument(help: "The checkpoint's name below the run.")
    var name: String

    @Flag(help: "Replace what was written under these names since it was recorded. Nobody may be writing them.")
    var overwrite = false

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            let name = try CheckpointOptions.name(command.name)
            let recovery = try await KeptCopies(catalog).recover(
                name,
                overwrites: command.overwrite,
                operation: .random()
            )
            if command.options.json {
                let paths = recovery.files.map { EventJSON.quoted($0.value) }.joined(separator: ",")
                standardOutput(
                    "{\"event\":\"recovered\",\"name\":\(EventJSON.quoted(name.description)),\"files\":[\(paths)]}\n"
                )
            } else {
                for path in recovery.files { standardOutput("  \(path)\n") }
                standardOutput(
                    "\(catalog.place)/\(name)  is complete: \(recovery.files.count) files were brought back\n"
                )
            }
        }
    }
}

struct CheckpointPruneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Remove old checkpoints; never the only complete one.",
        discussion: """
            Keeps the last ones by step, each whose step is a multiple of --keep-every, and always the one that was committed
            last. What has no record is left alone, unless --accept-marked or --remove-incomplete say otherwise.
            """
    )

    @OptionGroup var options: CheckpointOptions

    @Option(help: ArgumentHelp("Keep so many of the last complete ones, 1 or more.", valueName: "n"))
    var keepLast: Int

    @Option(help: ArgumentHelp("Keep each complete one whose step is a multiple of this.", valueName: "n"))
    var keepEvery: Int?

    @Flag(
        name: .customLong("accept-marked"),
        help: "Count, and remove, those without a record whose writer's marker is there."
    )
    var acceptsMarked = false

    @Flag(help: "Also remove what is not complete and has not changed for --grace.")
    var removeIncomplete = false

    @Option(
        help: ArgumentHelp("How long nothing of an incomplete one must have changed; a day.", valueName: "time"),
        transform: PenstockSettings.keepReplaced.parse
    )
    var grace: TimeSpan?

    @Flag(help: "Say what would be removed, and remove nothing.")
    var dryRun = false

    func run() async throws {
        let command = self
        try await onCheckpoints {
            if let every = command.keepEvery, every < 1 {
                throw CommandFailure(.usage, "--keep-every must be 1 or more")
            }
            let catalog = try await command.options.catalog()
            let rules = RetentionRules(
                keepLast: command.keepLast,
                keepEvery: command.keepEvery,
                acceptsMarked: command.acceptsMarked,
                removesIncomplete: command.removeIncomplete,
                grace: command.grace?.duration ?? .seconds(86_400)
            )
            let pruner = CheckpointPruner(catalog, time: SystemTime())
            let plan = try await pruner.plan(rules)
            if command.dryRun {
                for verdict in plan.removed { command.show("would remove", verdict.checkpoint, verdict.reason) }
            } else {
                let spared = try await pruner.carryOut(plan, rules) { command.show("removed", $0, "") }
                for name in spared { standardError("penstock: \(name) was committed anew meanwhile, and stays\n") }
            }
            for checkpoint in plan.kept { command.show("kept", checkpoint, "") }
            for verdict in plan.left { command.show("left", verdict.checkpoint, verdict.reason) }
        }
    }

    private func show(_ event: String, _ checkpoint: Checkpoint, _ reason: String) {
        if options.json {
            let key = event.split(separator: " ").joined(separator: "_")
            standardOutput(
                "{\"event\":\"\(key)\",\"name\":\(EventJSON.quoted(checkpoint.name.description)),\"state\":"
                    + "\"\(checkpoint.state.rawValue)\",\"bytes\":\(checkpoint.size),\"reason\":\(EventJSON.quoted(reason))}\n"
            )
        } else {
            let why = reason.isEmpty ? "" : "  (\(reason))"
            standardOutput("\(event)  \(checkpoint.name)  \(HumanReadable.bytes(checkpoint.size))\(why)\n")
        }
    }
}
