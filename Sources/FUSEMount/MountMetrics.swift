import Telemetry

/// What a mount counts.
struct MountMetrics: Sendable {
    let reads: Counter
    let passthroughOpens: Counter
    let passthroughFiles: Gauge
    let workers: Gauge
    let resent: Counter
    let refused: Counter

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
        workers = registry.gauge(
            "mount_worker",
            unit: "processes",
            help: "Which process of the mount this is: 1 until one had to be replaced."
        )
        resent = registry.counter(
            "mount_resent_requests_total",
            unit: "requests",
            help: "Requests that a former process had not answered and that the kernel sent again."
        )
        refused = registry.counter(
            "mount_refused_requests_total",
            unit: "requests",
            help: "Requests that were answered with EIO because processes died while they had them."
        )
        workers.set(1)
    }
}
