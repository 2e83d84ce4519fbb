package import LinuxPlatform

/// Adds the events of a conveyance up for people: how much, how fast, how long still.
///
/// Speed is over the last ten seconds, so that a stall shows. No clock, no terminal.
package struct ConveyanceMeter: Sendable {
    package private(set) var plan: PlanSummary?
    /// Bytes that are done: arrived from the source, or left by an earlier run.
    package private(set) var doneBytes = 0
    package private(set) var storedBytes = 0
    package private(set) var readBackBytes = 0
    package private(set) var stagedFiles = 0
    package private(set) var refetchedFiles = 0
    package private(set) var phase = "planning"
    /// What is being waited for, when it is worth saying.
    package var waiting: String?
    private var samples: [(at: MonotonicInstant, bytes: Int)] = []
    private var moved = 0
    private static let window = Duration.seconds(10)

    package init() {}

    package mutating func hear(_ event: ConveyanceEvent, now: MonotonicInstant) {
        switch event {
        case .planned(let summary):
            plan = summary
            phase = "conveying"
            waiting = nil
        case .following(let holder):
            phase = "following"
            waiting = "\(holder) conveys this already"
        case .fileStarted, .misread: break
        case .resumed(_, let bytes): doneBytes += bytes
        case .fetched(let bytes):
            doneBytes += bytes
            move(bytes, now)
        case .readBack(let bytes):
            readBackBytes += bytes
            move(bytes, now)
        case .stored(let bytes): storedBytes += bytes
        case .fileStaged: stagedFiles += 1
        case .fetchedAgain: refetchedFiles += 1
        case .publishing(let files): phase = "publishing \(files) files"
        case .published: phase = "published"
        }
    }

    /// Bytes per second over the last seconds; nil before there is anything to go by.
    package func rate(now: MonotonicInstant) -> Double? {
        guard let first = samples.first, let last = samples.last, last.at > first.at else { return nil }
        return Double(last.bytes - first.bytes) / max(first.at.duration(to: now).inSeconds, 1e-3)
    }

    package func remaining(now: MonotonicInstant) -> Duration? {
        guard let plan, let rate = rate(now: now), rate > 0 else { return nil }
        return .seconds(Double(max(0, plan.conveyedBytes - doneBytes)) / rate)
    }

    private mutating func move(_ bytes: Int, _ now: MonotonicInstant) {
        waiting = nil
        moved += bytes
        samples.append((now, moved))
        while let first = samples.first, samples.count > 2, first.at.duration(to: now) > Self.window {
            samples.removeFirst()
        }
        // A quick transfer makes many samples; every second one is as good.
        if samples.count > 512 { samples = samples.enumerated().filter { $0.offset % 2 == 0 }.map(\.element) }
    }
}
