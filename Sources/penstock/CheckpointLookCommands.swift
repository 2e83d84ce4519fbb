import ArgumentParser
import Checkpoints
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage

struct CheckpointListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Every checkpoint of a run: step, state and why, size, age, loss.",
        discussion: """
            States: complete (recorded, and as it was recorded), marked (no record; its writer's marker is there and nothing
            that can be seen is missing), incomplete (no record, and something is missing), torn (recorded, and changed since).
            """
    )

    @OptionGroup var options: CheckpointOptions

    func run() async throws {
        let options = options
        try await onCheckpoints {
            let catalog = try await options.catalog()
            let found = try await catalog.read()
            if options.json {
                for checkpoint in found { standardOutput(CheckpointDisplay.json(checkpoint, catalog.place)) }
            } else if !found.isEmpty {
                standardOutput(CheckpointDisplay.table(found, now: SystemTime().timeOfDay()))
            }
            if found.isEmpty { throw CommandFailure(.notFound, "no checkpoints below \(catalog.place)") }
        }
    }
}

/// How a checkpoint that was chosen is printed.
struct ChosenCheckpointOptions: ParsableArguments {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case path
        case name
        case step
    }

    @Option(
        help: ArgumentHelp(
            "Print the path below this directory, where the run is mounted, instead of its URL.",
            valueName: "dir"
        )
    )
    var mount: String?

    @Option(help: "What to print: the path, the name below the run, or the step.")
    var format = Format.path

    @Flag(
        name: .customLong("accept-marked"),
        help: "Also those without a record whose writer's marker is there. Their files are not compared with anything."
    )
    var acceptsMarked = false

    func show(_ checkpoint: Checkpoint, _ catalog: CheckpointCatalog, json: Bool) throws(CommandFailure) {
        if json { return standardOutput(CheckpointDisplay.json(checkpoint, catalog.place)) }
        switch format {
        case .path:
            var base = mount ?? catalog.place
            while base.utf8.count > 1, base.utf8.last == UInt8(ascii: "/") { base.removeLast() }
            standardOutput("\(base == "/" ? "" : base)/\(checkpoint.name)\n")
        case .name: standardOutput("\(checkpoint.name)\n")
        case .step:
            guard let step = checkpoint.step else {
                throw CommandFailure(.notFound, "the step of \(catalog.place)/\(checkpoint.name) is not known")
            }
            standardOutput("\(step)\n")
        }
    }
}

struct CheckpointLatestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latest",
        abstract: "Print the path of the newest complete checkpoint; exit 4 when there is none.",
        discussion: """
            The newest is the one with the highest step, or with --by time the one that was committed last. Later ones that are
            not complete are named on standard error, with the reason.
            """
    )

    enum Order: String, ExpressibleByArgument, CaseIterable {
        case step
        case time
    }

    @OptionGroup var options: CheckpointOptions
    @OptionGroup var chosen: ChosenCheckpointOptions

    @Option(help: "What makes a checkpoint newer than another.")
    var by = Order.step

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            let order = command.by == .step ? LatestRule.Order.step : .time
            let rule = LatestRule(order: order, acceptsMarked: command.chosen.acceptsMarked)
            let found = try await catalog.read()
            let latest = rule.choose(found)
            for other in found where latest.map({ Checkpoint.isEarlier($0, other) }) ?? true {
                standardError(
                    "penstock: \(other.name) is \(other.state.rawValue): \(other.reasons.first ?? "it has no record")\n"
                )
            }
            guard let latest else {
                throw CommandFailure(.notFound, "no complete checkpoint below \(catalog.place)")
            }
            try command.chosen.show(latest, catalog, json: command.options.json)
        }
    }
}

struct CheckpointWaitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait until there is a complete checkpoint, then print it; exit 6 when the time is over."
    )

    @OptionGroup var options: CheckpointOptions
    @OptionGroup var chosen: ChosenCheckpointOptions

    @Option(help: ArgumentHelp("One of this step or a later one.", valueName: "n"))
    var step: Int?

    @Option(help: ArgumentHelp("Exactly this one.", valueName: "name"))
    var name: String?

    @Option(
        help: ArgumentHelp("Give up after this long: 90s, 15m, 24h. Without it there is no end.", valueName: "time"),
        transform: PenstockSettings.keepReplaced.parse
    )
    var timeout: TimeSpan?

    @Option(
        help: ArgumentHelp("Look this often.", valueName: "time"),
        transform: PenstockSettings.keepReplaced.parse
    )
    var interval: TimeSpan?

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            var rule = LatestRule(acceptsMarked: command.chosen.acceptsMarked, minimumStep: command.step)
            if let name = command.name { rule.name = try CheckpointOptions.name(name) }
            let found = try await catalog.wait(
                for: rule,
                limit: command.timeout?.duration,
                interval: max(.milliseconds(100), command.interval?.duration ?? .seconds(5)),
                time: SystemTime()
            )
            guard let found else {
                throw CommandFailure(.retryable, "no such checkpoint below \(catalog.place) yet, and the time is over")
            }
            try command.chosen.show(found, catalog, json: command.options.json)
        }
    }
}
