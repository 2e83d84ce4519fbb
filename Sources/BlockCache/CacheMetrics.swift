package import Telemetry

/// What the cache counts, by tier: memory, then disk, then the network.
package struct CacheMetrics: Sendable {
    private let memoryHits: Counter
    private let memoryMisses: Counter
    private let memoryBytes: Counter
    private let diskBytesRead: Counter
    private let networkBytesRead: Counter
    private let mismatches: Counter
    private let evictions: Counter
    private let stored: Counter
    private let dropped: Counter
    private let errors: Counter
    private let scrubCounts: [ScrubOutcome: Counter]
    private let used: Gauge
    private let aheadUsed: Counter
    private let aheadWasted: Counter
    private let window: Gauge

    package init(_ registry: MetricRegistry) {
        memoryHits = registry.counter("cache_hits_total", unit: "reads", help: "Reads answered from memory at once.")
        memoryMisses = registry.counter(
            "cache_misses_total",
            unit: "reads",
            help: "Reads that had to wait for the disk or the network."
        )
        memoryBytes = Self.delivered("memory", registry)
        diskBytesRead = Self.delivered("disk", registry)
        networkBytesRead = Self.delivered("network", registry)
        mismatches = registry.counter(
            "disk_cache_mismatches_total",
            unit: "blocks",
            help: "Blocks of the disk cache that were not what they should be, and were fetched again."
        )
        evictions = registry.counter(
            "disk_cache_evictions_total",
            unit: "files",
            help: "Files thrown out of the disk cache to make room."
        )
        stored = registry.counter(
            "disk_cache_stored_bytes_total",
            unit: "bytes",
            help: "Bytes written to the disk cache."
        )
        dropped = registry.counter(
            "disk_cache_dropped_total",
            unit: "writes",
            help: "Writes to the disk cache left out: there was no room, or the disk failed."
        )
        errors = registry.counter(
            "disk_cache_errors_total",
            unit: "errors",
            help: "Operations on the cache's disk that failed; readers got their bytes from the network."
        )
        let scrubbed = ScrubOutcome.allCases.map { outcome in
            let counter = registry.counter(
                "disk_cache_scrubs_total",
                unit: "files",
                help: "Files in use that were read back from the cache's disk once more, by outcome.",
                labels: ["outcome": outcome.rawValue]
            )
            return (outcome, counter)
        }
        scrubCounts = Dictionary(uniqueKeysWithValues: scrubbed)
        used = registry.gauge(
            "disk_cache_used_bytes",
            unit: "bytes",
            help: "What the disk cache takes of its disk, deleted files still open included."
        )
        window = registry.gauge(
            "read_ahead_window_bytes",
            unit: "bytes",
            help: "How many bytes of read-ahead may be on their way now, chosen by distance and memory."
        )
        aheadUsed = Self.ahead("used", registry)
        aheadWasted = Self.ahead("wasted", registry)
    }

    private static func ahead(_ outcome: String, _ registry: MetricRegistry) -> Counter {
        registry.counter(
            "read_ahead_bytes_total",
            unit: "bytes",
            help: "Bytes fetched before anybody asked, in granules, when it is known what became of them.",
            labels: ["outcome": outcome]
        )
    }

    private static func delivered(_ tier: String, _ registry: MetricRegistry) -> Counter {
        registry.counter(
            "cache_bytes_total",
            unit: "bytes",
            help: "Bytes that a tier of the cache delivered to the one above it, or to readers.",
            labels: ["tier": tier]
        )
    }

    func memoryHit(bytes count: Int) {
        memoryHits.add()
        memoryBytes.add(count)
    }

    func readAhead(_ tally: ReadAheadTally) {
        if tally.isEmpty { return }
        aheadUsed.add(tally.used)
        aheadWasted.add(tally.wasted)
    }

    func readAhead(window bytes: Int) { window.set(bytes) }

    func memoryMiss() { memoryMisses.add() }
    func diskHit(bytes count: Int) { diskBytesRead.add(count) }
    func networkRead(bytes count: Int) { networkBytesRead.add(count) }
    func diskMismatch() { mismatches.add() }
    func evicted() { evictions.add() }
    func stored(bytes count: Int) { stored.add(count) }
    func storeDropped() { dropped.add() }
    func failed() { errors.add() }
    func scrubbed(_ outcome: ScrubOutcome) { scrubCounts[outcome]?.add() }
    func uses(bytes count: Int) { used.set(count) }

    /// Bytes that were fetched ahead and then read, and those thrown out unread.
    package var readAhead: ReadAheadTally {
        ReadAheadTally(used: aheadUsed.value, wasted: aheadWasted.value)
    }

    /// Bytes that came from the disk so far.
    package var diskBytes: Int { diskBytesRead.value }
    /// Bytes that came from the network so far.
    package var networkBytes: Int { networkBytesRead.value }
    /// Blocks of the disk that were wrong so far.
    package var diskMismatches: Int { mismatches.value }
    package var diskEvictions: Int { evictions.value }
    package var diskErrors: Int { errors.value }
    package var droppedWrites: Int { dropped.value }
    /// Files of this outcome so far.
    func scrubs(_ outcome: ScrubOutcome) -> Int { scrubCounts[outcome]?.value ?? 0 }
}
