import Telemetry
import TestSupport
import Testing

struct MetricsTests {
    @Test("the same name and labels are the same counter")
    func sameCounter() {
        let registry = MetricRegistry()
        let first = registry.counter("reads_total", unit: "requests", help: "Reads.", labels: ["store": "a"])
        first.add(2)
        registry.counter("reads_total", unit: "requests", help: "Reads.", labels: ["store": "a"]).add()
        registry.counter("reads_total", unit: "requests", help: "Reads.", labels: ["store": "b"]).add(7)
        #expect(first.value == 3)
        let values = registry.snapshot().map { "\($0.description.labels["store"] ?? ""):\($0.value)" }
        #expect(values == ["a:number(3)", "b:number(7)"])
    }

    @Test("a gauge goes up and down")
    func gauge() {
        let gauge = MetricRegistry().gauge("buffers", unit: "bytes", help: "Out on loan.")
        gauge.set(10)
        gauge.add(-4)
        #expect(gauge.value == 6)
    }

    @Test("nothing is lost when many threads count")
    func concurrentCounting() async {
        let registry = MetricRegistry()
        let counter = registry.counter("events_total", unit: "events", help: "Events.")
        let histogram = registry.histogram("sizes", unit: "bytes", help: "Sizes.")
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<10_000 {
                        counter.add()
                        histogram.record(task)
                    }
                }
            }
        }
        #expect(counter.value == 80_000)
        #expect(histogram.snapshot().count == 80_000)
        #expect(histogram.snapshot().sum == 10_000 * 28)
    }

    @Test("each value falls into the bucket whose bound is the first not below it", arguments: 0..<4 as Range<UInt64>)
    func buckets(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bounds = Histogram.upperBounds
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
        let edges = bounds.flatMap { [$0, $0 == .max ? $0 : $0 + 1] } + [-5]
        let others = (0..<500).map { _ in
            Int.random(in: 0 ... .max, using: &random) >> Int.random(in: 0...62, using: &random)
        }
        for value in edges + others {
            let histogram = MetricRegistry().histogram("h", unit: "bytes", help: "H.")
            histogram.record(value)
            let bucket = histogram.snapshot().counts.firstIndex(of: 1)
            #expect(bucket == bounds.firstIndex { $0 >= value }, "value \(value)")
        }
    }

    @Test("a quantile is the bound of its bucket, at most half above the value")
    func quantiles() {
        let histogram = MetricRegistry().histogram("h", unit: "nanoseconds", help: "H.")
        #expect(histogram.snapshot().quantile(0.5) == nil)
        for value in 1...1000 { histogram.record(value) }
        let snapshot = histogram.snapshot()
        #expect(snapshot.quantile(0) == 1)
        #expect(snapshot.quantile(0.5) == 511)
        #expect(snapshot.quantile(1) == 1023)
        #expect(snapshot.sum == 500_500)
    }

    @Test("a name that was registered as something else traps")
    func conflictingKind() async {
        await #expect(processExitsWith: .failure) {
            let registry = MetricRegistry()
            _ = registry.counter("x", unit: "bytes", help: "X.")
            _ = registry.gauge("x", unit: "bytes", help: "X.")
        }
    }
}
