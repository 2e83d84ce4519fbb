import Telemetry

/// What an engine counts. Each transfer adds once, when it ends.
struct EngineMetrics: Sendable {
    private let requests: Counter
    private let reused: Counter
    private let received: Counter
    private let sent: Counter
    private let failures: [HTTPFailure.Code: Counter]

    init(_ registry: MetricRegistry) {
        requests = registry.counter("http_requests_total", unit: "requests", help: "HTTP requests that ended.")
        reused = registry.counter(
            "http_connections_reused_total",
            unit: "requests",
            help: "HTTP requests that ran on a connection that was already open."
        )
        received = registry.counter("http_received_bytes_total", unit: "bytes", help: "Bytes of replies, headers too.")
        sent = registry.counter("http_sent_bytes_total", unit: "bytes", help: "Bytes of request bodies.")
        let pairs = HTTPFailure.Code.allCases.map { code in
            let counter = registry.counter(
                "http_failures_total",
                unit: "requests",
                help: "HTTP requests that ended without a usable reply.",
                labels: ["code": code.rawValue]
            )
            return (code, counter)
        }
        failures = Dictionary(uniqueKeysWithValues: pairs)
    }

    func count(sent: Int, received: Int, reusedConnection: Bool) {
        self.sent.add(max(0, sent))
        self.received.add(max(0, received))
        if reusedConnection { reused.add() }
    }

    func count(_ result: Result<HTTPDownloadResult, HTTPFailure>) {
        requests.add()
        if case .failure(let failure) = result { failures[failure.code]?.add() }
    }
}
