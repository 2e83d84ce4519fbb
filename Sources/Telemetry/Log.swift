package import LinuxPlatform

/// How much an event matters.
package enum LogLevel: String, Comparable, CaseIterable, Sendable {
    /// Something was not done that should have been.
    case error
    /// It was done, but not as it should go: a retry that lasts, a fallback.
    case warn
    /// What an operator wants to know when all is well: starts, ends, totals.
    case info
    /// Each step and each request that ended, for whoever looks for a cause.
    case debug
    /// Also what begins: a step or a request that never ends shows.
    case trace

    /// Orders by severity: `.error` is the lowest.
    package static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .error: 0
        case .warn: 1
        case .info: 2
        case .debug: 3
        case .trace: 4
        }
    }
}

/// The value of a field of a log line.
package enum LogValue: Sendable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation,
    ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral
{
    case text(String)
    case integer(Int)
    case number(Double)
    case flag(Bool)

    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
    package init(booleanLiteral value: Bool) { self = .flag(value) }

    /// What a thing says of itself: an error, a name, a generation.
    package init(_ value: some CustomStringConvertible) { self = .text(value.description) }
}

/// Where finished lines go.
package protocol LogSink: Sendable {
    /// Takes one line without its line feed. May be called from any thread.
    func write(_ line: String)
}

/// A log: a value that is handed to whoever shall write, with the fields it adds to each line.
///
/// One event is one line. A field that looks like a secret never gets into a line (see `Redaction`), and whatever a
/// value holds, it cannot start a line of its own or hide what stands in one.
package struct Log: Sendable {
    package typealias Fields = KeyValuePairs<String, LogValue>

    /// Events of a lower severity than this are not written. Nil: none are.
    package let threshold: LogLevel?
    private let format: LogFormat
    private let sink: any LogSink
    private let time: any TimeSource
    private var bound: [(String, LogValue)] = []

    package init(
        threshold: LogLevel? = .info,
        format: LogFormat = .text,
        sink: any LogSink = StandardErrorSink(),
        time: any TimeSource = SystemTime()
    ) {
        self.threshold = threshold
        self.format = format
        self.sink = sink
        self.time = time
    }

    /// Writes nothing.
    package static let disabled = Log(threshold: nil)

    /// This log with more fields in each line.
    package func with(_ fields: Fields) -> Log {
        var log = self
        log.bound += fields.map { ($0.key, $0.value) }
        return log
    }

    package func isEnabled(_ level: LogLevel) -> Bool { threshold.map { level <= $0 } ?? false }

    /// Writes an event. The fields are made only when the level is enabled.
    ///
    /// - Parameter event: what happened, in a few fixed words: what varies belongs into fields.
    package func write(_ level: LogLevel, _ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        guard isEnabled(level) else { return }
        let all = bound + fields().map { ($0.key, $0.value) }
        sink.write(format.line(time: time.timeOfDay(), level: level, event: event.description, fields: all))
    }

    package func error(_ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        write(.error, event, fields())
    }

    package func warn(_ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        write(.warn, event, fields())
    }

    package func info(_ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        write(.info, event, fields())
    }

    package func debug(_ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        write(.debug, event, fields())
    }

    package func trace(_ event: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        write(.trace, event, fields())
    }
}
