import Glibc
import LinuxPlatform
import ObjectStorage
import Snapshots
import Telemetry

/// Shows a conveyance: a bar that is redrawn on a terminal, a line every few seconds elsewhere, or JSON events. Log lines
/// go through it, so that they do not end up in the bar.
final class ConveyanceDisplay: LogSink {
    enum Style {
        case terminal
        case lines
        case json
        case quiet
    }

    private struct State {
        var meter = ConveyanceMeter()
        var lastDrawn: MonotonicInstant?
        var hasBar = false
    }

    private let style: Style
    private let time = SystemTime()
    private let state = Lock(State())

    init(_ style: Style) { self.style = style }

    /// The style for where standard error goes.
    static func style(json: Bool, quiet: Bool) -> Style {
        if json { return .json }
        if quiet { return .quiet }
        return isatty(STDERR_FILENO) == 1 ? .terminal : .lines
    }

    var observer: ConveyanceObserver { { self.hear($0) } }

    /// Says that everything waits, and for what.
    func waiting(_ reason: String) {
        let isPlanned = state.withLock { state in
            state.meter.waiting = reason
            return state.meter.plan != nil
        }
        switch style {
        case .quiet: break
        case .json: standardOutput("{\"event\":\"waiting\",\"reason\":\(EventJSON.quoted(reason))}\n")
        // Before the plan there is no bar.
        case .terminal, .lines: if isPlanned { draw(force: true) } else { standardError(reason + "\n") }
        }
    }

    private func hear(_ event: ConveyanceEvent) {
        let now = time.now()
        state.withLock { $0.meter.hear(event, now: now) }
        switch style {
        case .quiet: break
        case .json: if let line = EventJSON.line(event) { standardOutput(line + "\n") }
        case .terminal, .lines:
            if let text = Self.announcement(event) {
                clear()
                standardError(text + "\n")
            }
            draw(force: false)
        }
    }

    /// What is worth a line of its own.
    private static func announcement(_ event: ConveyanceEvent) -> String? {
        switch event {
        case .planned(let plan): plan.sentence
        case .following(let holder): "\(holder) conveys this already; waiting to adopt its result"
        case .fetchedAgain(let path, let reason): "\(path): \(reason); fetching it once more"
        case .misread(let path, let reason): "\(path): \(reason); read again it was right: damaged on the way"
        case .publishing(let files): "publishing \(files) files"
        default: nil
        }
    }

    private func draw(force: Bool) {
        guard style == .terminal || style == .lines else { return }
        let now = time.now()
        let interval: Duration = style == .terminal ? .milliseconds(100) : .seconds(5)
        let line = state.withLock { state -> String? in
            guard let plan = state.meter.plan else { return nil }
            if !force, let last = state.lastDrawn, last.duration(to: now) < interval { return nil }
            state.lastDrawn = now
            state.hasBar = style == .terminal
            return Self.progress(state.meter, plan, now)
        }
        guard let line else { return }
        if style == .terminal { eraseLine() }
        standardError(style == .terminal ? line : "\(line)\n")
    }

    /// Takes the bar away, so that a line can be written.
    func clear() {
        let hadBar = state.withLock { state in
            defer { state.hasBar = false }
            return state.hasBar
        }
        if hadBar { eraseLine() }
    }

    /// A line of the log, on standard error.
    func write(_ line: String) {
        clear()
        StandardErrorSink().write(line)
    }

    private static func progress(_ meter: ConveyanceMeter, _ plan: PlanSummary, _ now: MonotonicInstant) -> String {
        let total = max(plan.conveyedBytes, 1)
        let share = min(1, Double(meter.doneBytes) / Double(total))
        let filled = Int(share * 24)
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        var parts = [
            "\(bar) \(HumanReadable.decimal(share * 100, 0)) %",
            "\(HumanReadable.bytes(meter.doneBytes)) of \(HumanReadable.bytes(plan.conveyedBytes))",
        ]
        if let rate = meter.rate(now: now) { parts.append("\(HumanReadable.bytes(Int(rate)))/s") }
        if let left = meter.remaining(now: now), share < 1 { parts.append("\(HumanReadable.duration(left)) left") }
        parts.append("\(meter.stagedFiles)/\(plan.files - plan.keptFiles) files")
        if meter.refetchedFiles > 0 { parts.append("\(meter.refetchedFiles) fetched again") }
        if let waiting = meter.waiting { parts.append(waiting) }
        return parts.joined(separator: "  ")
    }
}

extension PlanSummary {
    /// What will be done, in one line.
    var sentence: String {
        var parts = ["\(files) files, \(HumanReadable.bytes(bytes))"]
        if conveyedFiles > 0 {
            var text = "convey \(conveyedFiles) (\(HumanReadable.bytes(conveyedBytes))"
            if resumedBytes > 0 { text += ", \(HumanReadable.bytes(resumedBytes)) of it are there from an earlier run" }
            parts.append(text + ")")
        }
        if keptFiles > 0 { parts.append("keep \(keptFiles) unchanged") }
        if copiedFiles > 0 { parts.append("copy \(copiedFiles) inside the bucket") }
        if provenFiles > 0 { parts.append("prove \(provenFiles) that are there") }
        if replacedFiles > 0 { parts.append("replace \(replacedFiles)") }
        if droppedFiles > 0 { parts.append("\(droppedFiles) of the old snapshot are not in this one") }
        return parts.joined(separator: "; ")
    }
}
