import Telemetry

/// What a mount counts.
struct MountMetrics: Sendable {
    let reads: Counter
    let passthroughOpens: Counter
    let passthroughFiles: Gauge

    init(_ registry: MetricRegistry) {
        reads = registry.counter(
            "mount_reads_total",
            unit: "reads",
            help: "Reads that the kernel asked this process for."
        )
        passthroughOpens = registry.counter(
            "mount_passthrough_opens_total",
            unit: "opens",
            help: "Opens of files that the kernel then reads in the disk cache by itself."
        )
        passthroughFiles = registry.gauge(
            "mount_passthrough_files",
            unit: "files",
            help: "Files that are open now and that the kernel reads in the disk cache by itself."
        )
    }
}
