import ArgumentParser
import Checkpoints
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage

/// The checkpoints of a training run, from the bucket alone.
struct CheckpointCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Find, record, prove, fetch, recover and remove the checkpoints of a training run.",
        discussion: """
            A run is a prefix with a directory (or a lone .ckpt, .pt, .pth file) for each checkpoint, whoever uploaded them.
            A checkpoint is complete when it has a record, which commit writes after looking that everything is there, and
            when each file that the record names stands in that generation. latest names no other.

            penstock checkpoint commit gs://ai-ckpt/run-17 checkpoint-500
            penstock checkpoint latest gs://ai-ckpt/run-17
            """,
        subcommands: [
            CheckpointListCommand.self, CheckpointLatestCommand.self, CheckpointWaitCommand.self,
            CheckpointCommitCommand.self, CheckpointVerifyCommand.self, CheckpointPullCommand.self,
            CheckpointRecoverCommand.self, CheckpointPruneCommand.self,
        ]
    )
}

/// What every command on checkpoints takes.
struct CheckpointOptions: ParsableArguments {
    @Argument(help: "gs://bucket/run or file:///directory: what the checkpoints stand directly below.")
    var run: Destination

    @Option(
        name: .customLong("complete-marker"),
        help: ArgumentHelp(
            "A file that the writer leaves when it is done, instead of those that are known of trainers; again and again.",
            valueName: "glob"
        )
    )
    var completeMarkers: [String] = []

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func catalog() async throws(CommandFailure) -> CheckpointCatalog {
        var rules = CompletenessRules()
        for pattern in completeMarkers {
            guard let glob = Glob(pattern), !pattern.isEmpty else {
                throw CommandFailure(.usage, "--complete-marker '\(pattern.prefix(120))' is empty or too long")
            }
            rules.markers.append(glob)
        }
        let objects = try await Services(log: logging.log()).store(run, store)
        return CheckpointCatalog(objects, run.prefix, rules: rules)
    }

    static func name(_ text: String) throws(CommandFailure) -> CheckpointName {
        var text = text
        while text.utf8.count > 1, text.utf8.last == UInt8(ascii: "/") { text.removeLast() }
        do throws(ObjectStoreError) { return try CheckpointName(text) } catch {
            throw CommandFailure(.usage, error.message)
        }
    }
}

/// What commands that read checkpoints take.
struct CheckpointReadingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Memory for buffers, for example 64M or 2G.", valueName: "size"),
        transform: PenstockSettings.memory.parse
    )
    var memory = Settings.current[PenstockSettings.memory]

    @Option(
        help: ArgumentHelp("Files on their way at once.", valueName: "n"),
        transform: PenstockSettings.maximumWorkers.parse
    )
    var maxWorkers = Settings.current[PenstockSettings.maximumWorkers]

    var reading: ReadingOptions { ReadingOptions(memory: memory.bytes, maximumFiles: maxWorkers) }
}

extension CommandFailure {
    init(_ error: CheckpointError) {
        let status: ExitStatus =
            switch error.code {
            case .usage, .conflict: .usage
            case .notFound: .notFound
            case .incomplete, .integrity: .integrity
            case .credentials: .credentials
            case .retryable, .disk: .retryable
            case .interrupted: .interrupted
            case .internal: .internal
            }
        self.init(status, error.message)
    }
}

extension AsyncParsableCommand where Self: Sendable {
    /// Runs a command on checkpoints; a signal ends it between two requests.
    func onCheckpoints(_ work: @escaping @Sendable () async throws -> Void) async throws {
        try await reporting { () async throws(CommandFailure) in
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do {
                    try await work()
                    return .success(())
                } catch let error as CheckpointError {
                    return .failure(CommandFailure(error))
                } catch let error as CommandFailure {
                    return .failure(error)
                } catch {
                    return .failure(CommandFailure(.internal, "\(error)"))
                }
            }
            try result.get()
        }
    }
}
