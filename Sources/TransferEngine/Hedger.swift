package import LinuxPlatform
import Synchronization
package import Telemetry

/// Watches the reads of one store, and ends requests that are much slower than the store usually is, so that a second one
/// brings the rest: one for each store, shared by all sources that `hedged` made. `HedgeTable` decides.
///
/// It looks every `interval` while something is on its way, and sleeps otherwise.
package final class Hedger: Sendable {
    /// How often it looks.
    package static let interval = Duration.milliseconds(10)

    private struct State {
        var table = HedgeTable()
        var meters: [HedgeTable.ReadID: ReadMeter] = [:]
        var isWatching = false
        var small = SmallRequestPatience()
    }

    private let state = Lock(State())
    let time: any TimeSource
    private let metrics: HedgeMetrics

    package init(metrics: HedgeMetrics = HedgeMetrics(MetricRegistry()), time: any TimeSource = SystemTime()) {
        self.metrics = metrics
        self.time = time
    }

    /// What the store has taught so far.
    package var estimate: NetworkEstimate { state.withLock { $0.table.estimate } }

    func begin(count: Int, stop: @escaping @Sendable () -> Void) -> ReadMeter {
        let (meter, mustWatch) = state.withLock { state in
            let meter = ReadMeter(id: state.table.begin(count: count), stop: stop)
            state.meters[meter.id] = meter
            defer { state.isWatching = true }
            return (meter, !state.isWatching)
        }
        if mustWatch { Task { await watch() } }
        return meter
    }

    func sent(_ meter: ReadMeter) {
        let now = time.now()
        state.withLock { $0.table.sent(meter.id, now: now) }
        meter.awaitsBytes.store(true, ordering: .releasing)
    }

    func paused(_ meter: ReadMeter, isThrottled: Bool) {
        let now = time.now()
        state.withLock { $0.table.paused(meter.id, isThrottled: isThrottled, now: now) }
    }

    /// Much had come before it was taken.
    func behind(_ meter: ReadMeter) { state.withLock { $0.table.behind(meter.id) } }

    /// So many more bytes are there.
    func received(_ meter: ReadMeter, _ count: Int) {
        let before = meter.received.wrappingAdd(count, ordering: .relaxed).oldValue
        guard meter.awaitsBytes.load(ordering: .relaxed) else { return }
        meter.awaitsBytes.store(false, ordering: .relaxed)
        let now = time.now()
        state.withLock { $0.table.answered(meter.id, received: before, now: now) }
    }

    func ended(_ meter: ReadMeter) -> HedgeTable.Next {
        let now = time.now()
        let (next, estimate) = state.withLock { state in
            let next = state.table.ended(meter.id, received: meter.count, now: now)
            if next != .again { state.meters[meter.id] = nil }
            return (next, state.table.estimate)
        }
        // A source that does not tell when it sends shows by its first bytes that it did.
        if next == .again { meter.awaitsBytes.store(true, ordering: .releasing) }
        if next == .over(wasHedged: true) { metrics.won() }
        metrics.learned(estimate)
        return next
    }

    // MARK: Small requests

    func patience(_ kind: SmallRequest) -> Duration {
        state.withLock { $0.small.patience(kind, beside: $0.table.estimate) }
    }

    func answered(_ kind: SmallRequest, after time: Duration) {
        state.withLock { $0.small.answered(kind, after: time) }
    }

    /// A small request was sent for the second time.
    func askedAgain() { metrics.startedBeside() }

    /// The second one was first.
    func secondAnswered() { metrics.won() }

    func cancelled(_ meter: ReadMeter) { state.withLock { $0.table.cancelled(meter.id) } }

    private func watch() async {
        while true {
            // A task that cannot sleep any more must not look without a pause.
            guard (try? await time.sleep(for: Self.interval)) != nil else { return }
            let now = time.now()
            let stops = state.withLock { state -> [(HedgeTable.Stop, ReadMeter)]? in
                if state.table.isIdle {
                    state.isWatching = false
                    return nil
                }
                let meters = state.meters
                return state.table.look(now: now) { meters[$0]?.count ?? 0 }
                    .compactMap { stop in meters[stop.id].map { (stop, $0) } }
            }
            guard let stops else { return }
            for (stop, meter) in stops {
                metrics.started(stop)
                meter.stop()
            }
        }
    }
}

/// What the threads that deliver bytes and the one that watches share of a read.
final class ReadMeter: Sendable {
    let id: HedgeTable.ReadID
    /// Ends the request that is on its way.
    let stop: @Sendable () -> Void
    fileprivate let received = Atomic<Int>(0)
    fileprivate let awaitsBytes = Atomic<Bool>(true)

    fileprivate init(id: HedgeTable.ReadID, stop: @escaping @Sendable () -> Void) {
        self.id = id
        self.stop = stop
    }

    /// Bytes of the read that are there.
    var count: Int { received.load(ordering: .relaxed) }
}

/// What a hedger counts.
package struct HedgeMetrics: Sendable {
    private let late: Counter
    private let silent: Counter
    private let slow: Counter
    private let wins: Counter
    private let extra: Counter
    private let firstByteMedian: Gauge
    private let firstByteP99: Gauge
    private let rate: Gauge

    package init(_ registry: MetricRegistry) {
        late = Self.hedges(.late, registry)
        silent = Self.hedges(.silent, registry)
        slow = Self.hedges(.slow, registry)
        wins = registry.counter(
            "hedges_won_total",
            unit: "reads",
            help: "Reads that a second request brought to their end."
        )
        extra = registry.counter(
            "hedges_wasted_bytes_total",
            unit: "bytes",
            help: "Bytes that may have been sent to requests that were given up, at most."
        )
        firstByteMedian = Self.firstByte("0.5", registry)
        firstByteP99 = Self.firstByte("0.99", registry)
        rate = registry.gauge(
            "network_connection_bytes_per_second",
            unit: "bytes",
            help: "What one connection to the store brings in a second, the median of the latest."
        )
    }

    private static func hedges(_ complaint: HedgeTable.Complaint, _ registry: MetricRegistry) -> Counter {
        registry.counter(
            "hedges_total",
            unit: "requests",
            help: "Requests that were given up for a second one, because the store usually is much faster.",
            labels: ["reason": complaint.rawValue]
        )
    }

    private static func firstByte(_ quantile: String, _ registry: MetricRegistry) -> Gauge {
        registry.gauge(
            "network_first_byte_microseconds",
            unit: "microseconds",
            help: "What a request to the store takes to the first byte of its body, as learned from the latest.",
            labels: ["quantile": quantile]
        )
    }

    func started(_ stop: HedgeTable.Stop) {
        switch stop.complaint {
        case .late: late.add()
        case .silent: silent.add()
        case .slow: slow.add()
        }
        extra.add(stop.extraBytes)
    }

    /// A second request that runs beside the first.
    func startedBeside() { late.add() }

    func won() { wins.add() }

    func learned(_ estimate: NetworkEstimate) {
        if let median = estimate.firstByteMedian { firstByteMedian.set(Int(median * 1e6)) }
        if let slow = estimate.firstByteP99 { firstByteP99.set(Int(slow * 1e6)) }
        if let median = estimate.rateMedian { rate.set(Int(median)) }
    }

    /// Requests given up so far.
    package var started: Int { late.value + silent.value + slow.value }
    /// Reads that a second request ended so far.
    package var winCount: Int { wins.value }
}
