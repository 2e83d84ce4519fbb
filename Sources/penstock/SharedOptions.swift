import AdminEndpoint
import ArgumentParser
import Configuration
import Snapshots
import Telemetry

/// How a bucket is reached.
struct StoreOptions: ParsableArguments {
    @Flag(help: "Use no credentials: public buckets.")
    var anonymous = Settings.current[PenstockSettings.anonymous]

    @Option(
        name: .customLong("access-token-file"),
        help: ArgumentHelp("A file that holds an OAuth access token; read again when it changes.", valueName: "path")
    )
    var givenAccessTokenFile: String?
    var accessTokenFile: String? { givenAccessTokenFile ?? Settings.current[PenstockSettings.accessTokenFile] }

    @Option(
        name: .customLong("billing-project"),
        help: ArgumentHelp("The project that pays for requests to a requester-pays bucket.", valueName: "project")
    )
    var givenBillingProject: String?
    var billingProject: String? { givenBillingProject ?? Settings.current[PenstockSettings.billingProject] }

    @Option(
        name: .customLong("endpoint"),
        help: ArgumentHelp("Another endpoint than https://storage.googleapis.com.", valueName: "url")
    )
    var givenEndpoint: String?
    var endpoint: String? { givenEndpoint ?? Settings.current[PenstockSettings.endpoint] }
}

/// Where mounts listen.
struct RuntimeOptions: ParsableArguments {
    @Option(
        name: .customLong("runtime-dir"),
        help: ArgumentHelp(
            "Where mounts listen for status, probe and prefetch; /run/penstock for root.",
            valueName: "path"
        )
    )
    var given: String?

    private var chosen: String? { given ?? Settings.current[PenstockSettings.runtimeDirectory] }
    /// Somebody named it: then it is a fault when it cannot be used.
    var isChosen: Bool { chosen != nil }
    var directory: SocketDirectory { SocketDirectory(chosen ?? SocketDirectory.standard(Settings.environment)) }
}

/// What is logged, and how.
struct LogOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "error, warn, info, debug (each request, without queries and headers) or trace.",
            valueName: "level"
        ),
        transform: PenstockSettings.logLevel.parse
    )
    var logLevel = Settings.current[PenstockSettings.logLevel]

    @Option(
        help: ArgumentHelp("How log lines look: text or json.", valueName: "format"),
        transform: PenstockSettings.logFormat.parse
    )
    var logFormat = Settings.current[PenstockSettings.logFormat]

    @Flag(name: [.short, .long], help: "The same as --log-level debug.")
    var verbose = false

    /// - Parameter sink: standard error, unless something else is drawn there.
    func log(_ sink: any LogSink = StandardErrorSink()) -> Log {
        Log(threshold: verbose ? max(logLevel, .debug) : logLevel, format: logFormat, sink: sink)
    }
}

/// What commands that move bytes share.
struct TransferOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Memory for buffers, for example 64M or 2G. The process stays below this and 48 MiB more.",
            valueName: "size"
        ),
        transform: PenstockSettings.memory.parse
    )
    var memory = Settings.current[PenstockSettings.memory]

    @Option(
        help: ArgumentHelp("Files on their way at once.", valueName: "n"),
        transform: PenstockSettings.maximumWorkers.parse
    )
    var maxWorkers = Settings.current[PenstockSettings.maximumWorkers]

    @Flag(help: "Print one JSON object per event and a last one with the result, instead of progress.")
    var json = false

    @Flag(name: [.short, .long], help: "Print only the result.")
    var quiet = false

    var conveyor: ConveyorOptions {
        var options = ConveyorOptions()
        options.memory = memory.bytes
        options.maximumFiles = maxWorkers
        return options
    }
}
