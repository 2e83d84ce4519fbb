package import Telemetry

/// When a mount lets the kernel read files of the disk cache by itself.
package enum PassthroughUse: String, CaseIterable, Sendable {
    /// Wherever the kernel does it.
    case auto
    case off
}

/// Whether a process of its own holds a mount, so that the one that serves it can be replaced.
package enum KeeperUse: String, CaseIterable, Sendable {
    case auto
    /// The mount ends with the process that serves it.
    case off
}

/// Everything that can be set, in the order of docs/CONFIGURATION.md.
package enum PenstockSettings {
    package static let memory = Setting(
        "memory",
        .size((16 << 20)...(1 << 40)),
        default: ByteSize(bytes: 512 << 20),
        help: "Memory for buffers; the process stays below this and 48 MiB more."
    )
    package static let cacheDirectory = Setting(
        "cache-dir",
        .text,
        default: nil,
        help: "Where mounts keep verified blocks on a disk, across restarts; without it they do not."
    )
    package static let cacheSize = Setting(
        "cache-size",
        .size((64 << 20)...(1 << 50)),
        default: ByteSize(bytes: 32 << 30),
        help: "What the cache on the disk may take."
    )
    package static let cacheFree = Setting(
        "cache-free",
        .optionalSize(),
        default: nil,
        help: "What the cache leaves free of its disk; without it 5 % of the disk, at most 1G."
    )
    package static let cacheScrub = Setting(
        "cache-scrub",
        .time(TimeSpan(seconds: 1) ... .tenYears),
        default: TimeSpan(seconds: 4 * 3600),
        help: "How old the proof of a cache file in use may get before it is read back, and repaired."
    )
    package static let maximumWorkers = Setting(
        "max-workers",
        .number(1...1024),
        default: 8,
        help: "Files on their way at once."
    )
    package static let keepReplaced = Setting(
        "keep-replaced",
        .time(),
        default: TimeSpan(seconds: 86_400),
        help: "How long mounts of a replaced version can still read it."
    )
    package static let passthrough = Setting(
        "passthrough",
        .choice,
        default: PassthroughUse.auto,
        help: "Whether the kernel may read proven files of the disk cache by itself, where it can."
    )
    package static let keeper = Setting(
        "keeper",
        .choice,
        default: KeeperUse.auto,
        help: "Whether a process of its own holds the mount, so that readers survive a crash of the one that serves it."
    )
    package static let runtimeDirectory = Setting(
        "runtime-dir",
        .text,
        default: nil,
        help: "Where mounts listen for status, probe and prefetch; without it /run/penstock, or for others than root "
            + "penstock below XDG_RUNTIME_DIR."
    )
    package static let anonymous = Setting(
        "anonymous",
        .boolean,
        default: false,
        help: "Use no credentials: public buckets."
    )
    package static let accessTokenFile = Setting(
        "access-token-file",
        .text,
        default: nil,
        help: "A file that holds an OAuth access token; read again when it changes."
    )
    package static let billingProject = Setting(
        "billing-project",
        .text,
        default: nil,
        help: "The project that pays for requests to a requester-pays bucket."
    )
    package static let endpoint = Setting(
        "endpoint",
        .text,
        default: nil,
        help: "Another Cloud Storage endpoint than https://storage.googleapis.com."
    )
    package static let logLevel = Setting(
        "log-level",
        .choice,
        default: LogLevel.info,
        help: "How much is logged on standard error: debug has a line for each request."
    )
    package static let logFormat = Setting(
        "log-format",
        .choice,
        default: LogFormat.text,
        help: "How log lines look."
    )

    package static let registry = SettingRegistry([
        AnySetting(memory), AnySetting(cacheDirectory), AnySetting(cacheSize), AnySetting(cacheFree),
        AnySetting(cacheScrub), AnySetting(maximumWorkers), AnySetting(keepReplaced), AnySetting(passthrough),
        AnySetting(keeper),
        AnySetting(runtimeDirectory), AnySetting(anonymous), AnySetting(accessTokenFile), AnySetting(billingProject),
        AnySetting(endpoint), AnySetting(logLevel),
        AnySetting(logFormat),
    ])
}
