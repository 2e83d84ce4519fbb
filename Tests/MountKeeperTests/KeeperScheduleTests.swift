import Glibc
import LinuxPlatform
import TestSupport
import Testing

@testable import MountKeeper

/// A keeper among processes that do anything at any time.
private struct Schedule {
    private enum Stage {
        case preparing
        case prepared
        case connected
        case serving
    }

    private var state = KeeperState()
    private var now = MonotonicInstant(nanoseconds: 0)
    private var random: SeededRandom
    private var living: [WorkerID: Stage] = [:]
    private var doomed: Set<WorkerID> = []
    private var seen: Set<WorkerID> = []
    private var alarms: [MonotonicInstant] = []
    private var announcements = 0
    private(set) var faults: [String] = []
    private(set) var status: Int32?

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func run(steps: Int) {
        give(.start)
        for _ in 0..<steps where status == nil { step() }
    }

    private mutating func step() {
        now = now.advanced(by: .milliseconds(Int64.random(in: 0...3000, using: &random)))
        if let alarm = alarms.min(), alarm <= now {
            alarms.removeAll { $0 <= now }
            return give(.time)
        }
        switch Int.random(in: 0..<100, using: &random) {
        case 0: give(.stop(signal: Bool.random(using: &random) ? SIGTERM : SIGINT))
        case 1...6: give(.upgrade)
        case 7...8: give(.time)
        default:
            guard let worker = living.keys.sorted(by: { $0.number < $1.number }).randomElement(using: &random)
            else {
                // Nobody lives: there must be an alarm to wait for.
                guard let next = alarms.min() else { return faults.append("nobody lives and nothing is awaited") }
                now = next
                return
            }
            doomed.contains(worker) || Int.random(in: 0..<4, using: &random) == 0 ? die(worker) : advance(worker)
        }
    }

    private mutating func die(_ worker: WorkerID) {
        let ends: [ProcessEnd] = [
            .killed(signal: SIGKILL), .killed(signal: SIGKILL), .killed(signal: SIGSEGV), .exited(1), .exited(5),
        ]
        let end = doomed.contains(worker) ? .killed(signal: SIGKILL) : ends.randomElement(using: &random) ?? .exited(1)
        living[worker] = nil
        give(.ended(worker, end, WorkerReport(hasAnswered: Bool.random(using: &random), canResume: true)))
    }

    private mutating func advance(_ worker: WorkerID) {
        switch living[worker] {
        case .preparing:
            living[worker] = .prepared
            give(.prepared(worker))
        case .connected:
            living[worker] = .serving
            give(.serving(worker))
        default: break
        }
    }

    private mutating func give(_ event: KeeperState.Event) {
        let before = status
        for action in state.handle(event, at: now) { take(action) }
        if before != nil { faults.append("something happened after the end") }
        guard status == nil else { return }
        let connected = living.filter { $0.value == .connected || $0.value == .serving }
        if connected.count > 1 { faults.append("two have the connection: \(connected.keys)") }
    }

    private mutating func take(_ action: KeeperState.Action) {
        switch action {
        case .spawn(let worker, _):
            if !seen.insert(worker).inserted { faults.append("\(worker) twice") }
            living[worker] = .preparing
            if living.count > 2 { faults.append("three processes at once") }
        case .connect(let worker):
            if living[worker] != .prepared { faults.append("\(worker) is connected and not prepared") }
            living[worker] = .connected
        case .announce:
            announcements += 1
            if announcements > 1 { faults.append("announced twice") }
        case .kill(let worker): doomed.insert(worker)
        case .charge(let worker, _): if living[worker] != nil { faults.append("\(worker) is charged and lives") }
        case .wake(let moment): alarms.append(moment)
        case .exit(let status):
            if self.status != nil { faults.append("ended twice") }
            self.status = status
        case .signal(let worker, _): if living[worker] == nil { faults.append("a signal to \(worker), which is gone") }
        case .settle, .unmount, .tell: break
        }
    }
}

@Suite struct KeeperScheduleTests {
    @Test func whateverHappensOneServesOrItIsOver() {
        for seed in UInt64(1)...2000 {
            var schedule = Schedule(seed: seed)
            schedule.run(steps: 400)
            #expect(schedule.faults == [], "seed \(seed)")
            if !schedule.faults.isEmpty { return }
        }
    }
}
