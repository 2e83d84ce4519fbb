import Synchronization

/// What a metric is: its name, unit and meaning, fixed when it is registered.
package struct MetricDescription: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    /// Lower case, digits and `_`, for example `storage_bytes_read_total`.
    package let name: String
    package let kind: Kind
    /// Of the numbers recorded: `bytes`, `nanoseconds`, or what is counted (`requests`).
    package let unit: String
    /// One sentence for a person.
    package let help: String
    /// Fixed pairs that part several metrics of one name. Never anything an outsider chooses: each is a series.
    package let labels: [String: String]
}

/// A number that only grows. Adding takes one atomic instruction and never waits.
package final class Counter: Sendable {
    package let description: MetricDescription
    private let count = Atomic<Int>(0)

    init(_ description: MetricDescription) { self.description = description }

    /// Adds `amount`, which is not negative.
    package func add(_ amount: Int = 1) {
        precondition(amount >= 0, "a counter only grows")
        count.wrappingAdd(amount, ordering: .relaxed)
    }

    package var value: Int { count.load(ordering: .relaxed) }
}

/// A number that goes up and down.
package final class Gauge: Sendable {
    package let description: MetricDescription
    private let level = Atomic<Int>(0)

    init(_ description: MetricDescription) { self.description = description }

    package func set(_ value: Int) { level.store(value, ordering: .relaxed) }

    /// Adds `amount`, which may be negative.
    package func add(_ amount: Int) { level.wrappingAdd(amount, ordering: .relaxed) }

    package var value: Int { level.load(ordering: .relaxed) }
}
