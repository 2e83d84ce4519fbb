package import LinuxPlatform
package import Telemetry

/// What went through a mount since its start.
package struct Traffic: Codable, Hashable, Sendable {
    /// Given to readers out of memory at once.
    package var memoryBytes = 0
    /// That came from the cache's disk.
    package var diskBytes = 0
    /// That came from the store.
    package var networkBytes = 0
    /// Reads that the kernel asked for; those that it answers by itself are not seen.
    package var reads = 0
    /// To the store.
    package var requests = 0
    package var retries = 0
    /// Requests that ended without a usable reply.
    package var failures = 0
    /// Of the disk, that were not what they should be.
    package var wrongBlocks = 0
    package var diskErrors = 0

    package init() {}

    /// Adds up what the samples say; metrics that are not there count as 0.
    package init(_ samples: [MetricSample]) {
        for sample in samples {
            guard case .number(let number) = sample.value else { continue }
            switch (sample.description.name, sample.description.labels["tier"]) {
            case ("cache_bytes_total", "memory"): memoryBytes += number
            case ("cache_bytes_total", "disk"): diskBytes += number
            case ("cache_bytes_total", "network"): networkBytes += number
            case ("mount_reads_total", _): reads += number
            case ("http_requests_total", _): requests += number
            case ("storage_retries_total", _): retries += number
            case ("http_failures_total", _): failures += number
            case ("disk_cache_mismatches_total", _): wrongBlocks += number
            case ("disk_cache_errors_total", _): diskErrors += number
            default: break
            }
        }
    }
}

/// Bytes a second over the last seconds.
package struct Rates: Codable, Hashable, Sendable {
    /// Over so many milliseconds; 0: there is nothing to go by yet.
    package var milliseconds = 0
    package var memoryBytesPerSecond = 0
    package var diskBytesPerSecond = 0
    package var networkBytesPerSecond = 0

    package init() {}
}

/// Remembers what traffic was in the last seconds.
package struct RateWindow: Sendable {
    private static let span = Duration.seconds(10)
    private var samples: [(at: MonotonicInstant, traffic: Traffic)] = []

    package init() {}

    /// Notes what it is now; about once a second.
    package mutating func note(_ traffic: Traffic, now: MonotonicInstant) {
        samples.append((now, traffic))
        samples.removeAll { $0.at.duration(to: now) > Self.span }
    }

    /// From the oldest note that counts until now.
    package func rates(_ traffic: Traffic, now: MonotonicInstant) -> Rates {
        var rates = Rates()
        guard let first = samples.first(where: { $0.at.duration(to: now) <= Self.span }) else { return rates }
        let milliseconds = Int(first.at.duration(to: now).inNanoseconds / 1_000_000)
        guard milliseconds > 0 else { return rates }
        func rate(_ key: KeyPath<Traffic, Int>) -> Int {
            max(0, traffic[keyPath: key] - first.traffic[keyPath: key]) * 1000 / milliseconds
        }
        rates.milliseconds = milliseconds
        rates.memoryBytesPerSecond = rate(\.memoryBytes)
        rates.diskBytesPerSecond = rate(\.diskBytes)
        rates.networkBytesPerSecond = rate(\.networkBytes)
        return rates
    }
}
