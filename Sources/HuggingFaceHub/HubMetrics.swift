import Telemetry

/// What a client of a Hub counts.
struct HubMetrics: Sendable {
    let requests: Counter
    let retries: Counter
    let rateLimitPauses: Counter
    let locationRefreshes: Counter
    let bytes: Counter

    init(_ registry: MetricRegistry) {
        requests = registry.counter(
            "hub_requests_total",
            unit: "requests",
            help: "Requests sent to the Hub and to the hosts it redirects to."
        )
        retries = registry.counter(
            "hub_retries_total",
            unit: "attempts",
            help: "Attempts made again after a transient failure or a rate limit."
        )
        rateLimitPauses = registry.counter(
            "hub_rate_limit_pauses_total",
            unit: "pauses",
            help: "Times that all workers waited for the Hub's rate limit."
        )
        locationRefreshes = registry.counter(
            "hub_url_refreshes_total",
            unit: "refreshes",
            help: "Signed URLs asked for anew after a storage host refused one."
        )
        bytes = registry.counter(
            "hub_bytes_total",
            unit: "bytes",
            help: "Bytes of file content received from the Hub and its storage hosts."
        )
    }
}
