import ArgumentParser
import Checkpoints
import Configuration
import LinuxPlatform
import Manifests
import ObjectStorage
import Telemetry

struct CheckpointCommitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit",
        abstract: "Record that a checkpoint is complete, after looking that everything is there.",
        discussion: """
            Looks that no file has a writer's temporary name, that what index files and numbered names tell of is there, and
            records each file's size, CRC32C and generation. Exits 3, with the reasons, when something is missing.

            With several ranks each one commits when its own files are uploaded, and the last one writes the record:
            penstock checkpoint commit gs://ai-ckpt/run-17 step-500 --rank $RANK --expect-ranks 8 --save "$JOB.$RESTART.500"
            """
    )

    @OptionGroup var options: CheckpointOptions

    @Argument(help: "The checkpoint's name below the run.")
    var name: String

    @Option(help: ArgumentHelp("How far training was; else what the writer or the name tells.", valueName: "n"))
    var step: Int?

    @Option(help: ArgumentHelp("A number to record, again and again.", valueName: "name=value"))
    var metric: [String] = []

    @Option(help: ArgumentHelp("Which rank this is, from 0.", valueName: "n"))
    var rank: Int?

    @Option(help: ArgumentHelp("How many ranks commit together.", valueName: "n"))
    var expectRanks: Int?

    @Option(
        help: ArgumentHelp(
            "What the ranks of one save have in common, and no other save and no restart of the job has.",
            valueName: "id"
        )
    )
    var save: String?

    @Option(
        help: ArgumentHelp(
            "The files that this rank wrote, below the checkpoint; they must not change any more.",
            valueName: "glob"
        )
    )
    var files: String?

    @Flag(
        help:
            "Also copy the files aside inside of the bucket, for a writer that will overwrite this checkpoint in place."
    )
    var keepAside = false

    func run() async throws {
        let command = self
        try await onCheckpoints {
            let catalog = try await command.options.catalog()
            let request = try command.request()
            let outcome = try await CheckpointCommitter(catalog).commit(request)
            if case .committed(let standing, _) = outcome, command.keepAside {
                try await KeptCopies(catalog).keep(standing)
            }
            command.show(outcome, catalog)
        }
    }

    private func request() throws(CommandFailure) -> CommitRequest {
        var metrics: [String: Double] = [:]
        for text in metric {
            let pair = text.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, let value = Double(pair[1]), value.isFinite else {
                throw CommandFailure(.usage, "--metric \(text.prefix(100)) is not a name, '=' and a number")
            }
            metrics[String(pair[0])] = value
        }
        return CommitRequest(
            name: try CheckpointOptions.name(name),
            operation: .random(),
            created: SystemTime().timeOfDay(),
            step: step,
            metrics: metrics,
            shared: try shared()
        )
    }

    private func shared() throws(CommandFailure) -> CommitRequest.Shared? {
        guard rank != nil || expectRanks != nil || save != nil || files != nil else { return nil }
        guard let rank, let ranks = expectRanks, (1...CheckpointRecord.maximumRanks).contains(ranks),
            (0..<ranks).contains(rank)
        else {
            throw CommandFailure(.usage, "--rank, from 0, and --expect-ranks, how many there are, belong together")
        }
        guard let save, let id = SaveID(save) else {
            throw CommandFailure(
                .usage,
                "ranks that commit together need --save: the same for all of them, another for each save and each restart of "
                    + "the job, of letters, digits, '.', '_' and '-'; else what a run that died has left would be counted"
            )
        }
        var glob: Glob?
        if let files {
            glob = Glob(files)
            if glob == nil { throw CommandFailure(.usage, "--files is too long") }
        }
        return CommitRequest.Shared(save: id, rank: rank, ranks: ranks, files: glob)
    }

    private func show(_ outcome: CommitOutcome, _ catalog: CheckpointCatalog) {
        switch outcome {
        case .failed: return
        case .waiting(let ranks):
            if options.json {
                let missing = ranks.map(String.init).joined(separator: ",")
                standardOutput(
                    "{\"event\":\"shared\",\"name\":\(EventJSON.quoted(name)),\"missing_ranks\":[\(missing)]}\n"
                )
            } else {
                let shown = ranks.prefix(10).map(String.init).joined(separator: ", ") + (ranks.count > 10 ? ", …" : "")
                standardOutput("\(catalog.place)/\(name)  share recorded; waiting for \(ranks.count) ranks: \(shown)\n")
            }
        case .committed(let standing, let isNew):
            let record = standing.record
            if options.json {
                standardOutput(
                    "{\"event\":\"committed\",\"name\":\(EventJSON.quoted(record.name.description)),\"new\":\(isNew),"
                        + "\"files\":\(record.files.count),\"bytes\":\(record.totalSize),"
                        + "\"step\":\(record.step.map(String.init) ?? "null")}\n"
                )
            } else {
                let verb = isNew ? "committed" : "was committed already"
                standardOutput("\(catalog.place)/\(record.name)  \(verb): \(record.files.count) files, ")
                standardOutput("\(HumanReadable.bytes(record.totalSize))\(record.step.map { ", step \($0)" } ?? "")\n")
            }
        }
    }
}
