import ArgumentParser
import LinuxPlatform
import Snapshots

/// How a bucket is reached.
struct StoreOptions: ParsableArguments {
    @Flag(help: "Use no credentials: public buckets.")
    var anonymous = false

    @Option(
        help: ArgumentHelp("A file that holds an OAuth access token; read again when it changes.", valueName: "path")
    )
    var accessTokenFile: String?

    @Option(help: ArgumentHelp("The project that pays for requests to a requester-pays bucket.", valueName: "project"))
    var billingProject: String?

    @Option(help: ArgumentHelp("Another endpoint than https://storage.googleapis.com.", valueName: "url"))
    var endpoint: String?
}

/// A number of bytes: `64M`, `1.5GiB`, `1000000`. Units are powers of 1,024.
struct ByteSize: ExpressibleByArgument {
    let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        let text = argument.lowercased()
        let digits = text.prefix { $0.isNumber || $0 == "." }
        guard let number = Double(digits), number >= 0, number.isFinite else { return nil }
        let scale: Double
        switch text.dropFirst(digits.count) {
        case "", "b": scale = 1
        case "k", "kb", "kib": scale = 1024
        case "m", "mb", "mib": scale = 1_048_576
        case "g", "gb", "gib": scale = 1_073_741_824
        case "t", "tb", "tib": scale = 1_099_511_627_776
        default: return nil
        }
        guard number * scale < 1e18 else { return nil }
        bytes = Int(number * scale)
    }

    var defaultValueDescription: String { bytes % (1 << 20) == 0 ? "\(bytes >> 20)M" : "\(bytes)" }
}

/// A length of time: `90s`, `15m`, `24h`, `7d`, or a number of seconds.
struct TimeLength: ExpressibleByArgument {
    let duration: Duration

    static let day = TimeLength(duration: .seconds(86_400))

    init(duration: Duration) { self.duration = duration }

    init?(argument: String) {
        let digits = argument.prefix { $0.isNumber }
        guard let number = Int(digits), number >= 0, number < 1_000_000_000 else { return nil }
        switch argument.dropFirst(digits.count) {
        case "", "s": duration = .seconds(number)
        case "m": duration = .seconds(number * 60)
        case "h": duration = .seconds(number * 3600)
        case "d": duration = .seconds(number * 86_400)
        default: return nil
        }
    }

    var defaultValueDescription: String {
        let seconds = Int(duration.inSeconds)
        return seconds % 3600 == 0 ? "\(seconds / 3600)h" : "\(seconds)s"
    }
}

/// What commands that move bytes share.
struct TransferOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Memory for buffers, for example 64M or 2G. The process stays below this and 48 MiB more.",
            valueName: "size"
        )
    )
    var memory = ByteSize(bytes: 512 << 20)

    @Option(help: ArgumentHelp("Files on their way at once.", valueName: "n"))
    var maxWorkers = 8

    @Flag(help: "Print one JSON object per event and a last one with the result, instead of progress.")
    var json = false

    @Flag(name: [.short, .long], help: "Print only the result.")
    var quiet = false

    func validate() throws {
        if maxWorkers < 1 || maxWorkers > 1024 { throw ValidationError("--max-workers is 1 to 1024") }
    }

    var conveyor: ConveyorOptions {
        var options = ConveyorOptions()
        options.memory = memory.bytes
        options.maximumFiles = maxWorkers
        return options
    }
}
