import LinuxPlatform

/// All metrics of a process, or of a test: made once, when a component starts, then used without a look-up.
///
/// Nothing here exports: a snapshot is what an exporter, a status command or a test reads.
package final class MetricRegistry: Sendable {
    private enum Instrument {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
    }

    private struct Key: Hashable {
        let name: String
        let labels: [String: String]
    }

    private struct State {
        var instruments: [Key: Instrument] = [:]
        /// All metrics of one name agree in these.
        var descriptions: [String: MetricDescription] = [:]
    }

    private let state = Lock(State())

    package init() {}

    /// The counter of this name and these labels, made on first use.
    ///
    /// Two registrations of one name must agree in kind, unit and help: anything else is a defect, and traps.
    package func counter(_ name: String, unit: String, help: String, labels: [String: String] = [:]) -> Counter {
        let description = MetricDescription(name: name, kind: .counter, unit: unit, help: help, labels: labels)
        guard case .counter(let counter) = register(description, { .counter(Counter(description)) }) else {
            preconditionFailure("metric \(name) is no counter")
        }
        return counter
    }

    /// The gauge of this name and these labels, made on first use, under the rules of `counter`.
    package func gauge(_ name: String, unit: String, help: String, labels: [String: String] = [:]) -> Gauge {
        let description = MetricDescription(name: name, kind: .gauge, unit: unit, help: help, labels: labels)
        guard case .gauge(let gauge) = register(description, { .gauge(Gauge(description)) }) else {
            preconditionFailure("metric \(name) is no gauge")
        }
        return gauge
    }

    /// The histogram of this name and these labels, made on first use, under the rules of `counter`.
    package func histogram(_ name: String, unit: String, help: String, labels: [String: String] = [:]) -> Histogram {
        let description = MetricDescription(name: name, kind: .histogram, unit: unit, help: help, labels: labels)
        guard case .histogram(let histogram) = register(description, { .histogram(Histogram(description)) }) else {
            preconditionFailure("metric \(name) is no histogram")
        }
        return histogram
    }

    /// Every metric with its value now, ordered by name and labels.
    package func snapshot() -> [MetricSample] {
        let instruments = state.withLock { Array($0.instruments.values) }
        return instruments.map(sample).sorted { $0.sortKey.lexicographicallyPrecedes($1.sortKey) }
    }

    private func register(_ description: MetricDescription, _ make: () -> Instrument) -> Instrument {
        precondition(Self.isName(description.name), "'\(description.name)' is no metric name")
        precondition(description.labels.keys.allSatisfy(Self.isName), "a label of \(description.name) is no name")
        return state.withLock { state in
            let first = state.descriptions[description.name, default: description]
            precondition(
                first.kind == description.kind && first.unit == description.unit && first.help == description.help,
                "metric \(description.name) was registered differently before"
            )
            state.descriptions[description.name] = first
            let key = Key(name: description.name, labels: description.labels)
            if let known = state.instruments[key] { return known }
            let instrument = make()
            state.instruments[key] = instrument
            return instrument
        }
    }

    private func sample(_ instrument: Instrument) -> MetricSample {
        switch instrument {
        case .counter(let counter): MetricSample(description: counter.description, value: .number(counter.value))
        case .gauge(let gauge): MetricSample(description: gauge.description, value: .number(gauge.value))
        case .histogram(let histogram):
            MetricSample(description: histogram.description, value: .distribution(histogram.snapshot()))
        }
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, (0x61...0x7A).contains(first) else { return false }
        return text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
    }
}

/// A metric and its value at one moment.
package struct MetricSample: Hashable, Sendable {
    package enum Value: Hashable, Sendable {
        case number(Int)
        case distribution(HistogramSnapshot)
    }

    package let description: MetricDescription
    package let value: Value

    fileprivate var sortKey: [String] {
        [description.name] + description.labels.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
    }
}
