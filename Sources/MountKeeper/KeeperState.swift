import Glibc
import LinuxPlatform

/// Which of the processes that serve a mount, one after the other: 1 is the first.
struct WorkerID: Hashable, Sendable {
    let number: UInt32
}

/// What a keeper decides: who serves the mount, who comes next, and when it is over.
///
/// A pure value: events go in, with their moment, and actions come out. At most one process at a time has been given the
/// connection to the kernel and has not ended.
struct KeeperState {
    /// The program that a process runs.
    enum Binary: Hashable, Sendable {
        /// The one that served last.
        case proven
        /// The one that stands on the disk now.
        case onDisk
    }

    enum Event: Hashable, Sendable {
        case start
        /// It has all that it needs, but the connection to the kernel.
        case prepared(WorkerID)
        /// It answers the kernel.
        case serving(WorkerID)
        case ended(WorkerID, ProcessEnd, WorkerReport)
        /// SIGTERM or SIGINT has come.
        case stop(signal: Int32)
        case upgrade
        /// The moment of a `wake` is over, or another one.
        case time
    }

    enum Action: Hashable, Sendable {
        case spawn(WorkerID, Binary)
        /// Gives it the connection to the kernel, which is made now if there is none.
        case connect(WorkerID)
        /// The mount is ready for the first time.
        case announce
        case signal(WorkerID, Int32)
        /// With SIGKILL; `ended` comes nevertheless.
        case kill(WorkerID)
        /// What was in process at its death weighs more by that.
        case charge(WorkerID, strikes: Int)
        /// The program that was tried is the one to go on with, or is not.
        case settle(isAdopted: Bool)
        /// Takes the mount out of the tree, if it still is there.
        case unmount
        case wake(MonotonicInstant)
        case exit(Int32)
        case tell(KeeperNotice)
    }

    /// A death of a process that has done nothing is one of a row when it lived shorter than this.
    static let fruitlessLife = Duration.seconds(60)
    /// A row of so many ends the mount.
    static let maximumRow = 8
    /// So many crashes of processes that did their work, within `crashWindow`, end it too.
    static let maximumCrashes = 20
    static let crashWindow = Duration.seconds(300)
    /// How long a process that takes over may take when the mount shall end.
    static let patience = Duration.seconds(10)
    private static let firstPause = Duration.milliseconds(100)

    private enum Phase: Hashable {
        case idle
        case starting(WorkerID, isConnected: Bool)
        case serving(WorkerID, since: MonotonicInstant, standby: WorkerID?)
        /// The old one is being killed; nil: the new one has died meanwhile.
        case handingOver(from: WorkerID, to: WorkerID?)
        case resuming(WorkerID, isConnected: Bool, Binary)
        case pausing(until: MonotonicInstant)
        case stopping(WorkerID)
        case over
    }

    private var phase = Phase.idle
    private var lastNumber: UInt32 = 0
    private var row = 0
    private var crashes: [MonotonicInstant] = []
    private var wantsUpgrade = false
    /// A signal that waits for somebody who can unmount properly.
    private var stopSignal: Int32?
    private var stopDeadline = MonotonicInstant.distantFuture
    private var actions: [Action] = []

    /// What is to be done, in this order.
    mutating func handle(_ event: Event, at now: MonotonicInstant) -> [Action] {
        actions = []
        switch event {
        case .start: if phase == .idle { phase = .starting(spawn(.proven), isConnected: false) }
        case .prepared(let worker): prepared(worker)
        case .serving(let worker): serving(worker, now)
        case .ended(let worker, let end, let report): ended(worker, end, report, now)
        case .stop(let signal): stop(signal, now)
        case .upgrade: upgrade()
        case .time: time(now)
        }
        return actions
    }

    private mutating func spawn(_ binary: Binary) -> WorkerID {
        lastNumber += 1
        let worker = WorkerID(number: lastNumber)
        actions.append(.spawn(worker, binary))
        return worker
    }

    private mutating func finish(_ status: Int32) {
        phase = .over
        actions += [.unmount, .exit(status)]
    }

    // MARK: A process that comes

    private mutating func prepared(_ worker: WorkerID) {
        switch phase {
        case .starting(worker, isConnected: false):
            phase = .starting(worker, isConnected: true)
            actions.append(.connect(worker))
        case .resuming(worker, isConnected: false, let binary):
            phase = .resuming(worker, isConnected: true, binary)
            actions.append(.connect(worker))
        case .serving(let old, _, standby: worker):
            // At once: what it has not answered is sent again. Asked politely it would go on taking requests.
            phase = .handingOver(from: old, to: worker)
            actions.append(.kill(old))
        default: break
        }
    }

    private mutating func serving(_ worker: WorkerID, _ now: MonotonicInstant) {
        switch phase {
        case .starting(worker, isConnected: true): actions.append(.announce)
        case .resuming(worker, isConnected: true, let binary):
            if binary == .onDisk { actions.append(.settle(isAdopted: true)) }
            actions.append(.tell(.resumed(worker)))
        default: return
        }
        phase = .serving(worker, since: now, standby: nil)
        if let signal = stopSignal {
            phase = .stopping(worker)
            actions.append(.signal(worker, signal))
        } else if wantsUpgrade {
            upgrade()
        }
    }

    private mutating func upgrade() {
        switch phase {
        case .serving(let worker, let since, nil):
            wantsUpgrade = false
            phase = .serving(worker, since: since, standby: spawn(.onDisk))
        case .pausing:
            wantsUpgrade = false
            phase = .resuming(spawn(.onDisk), isConnected: false, .onDisk)
        case .stopping, .over: break
        default: wantsUpgrade = true
        }
    }

    // MARK: A process that goes

    private mutating func ended(
        _ worker: WorkerID,
        _ end: ProcessEnd,
        _ report: WorkerReport,
        _ now: MonotonicInstant
    ) {
        switch phase {
        case .starting(worker, _): endedAtStart(end)
        case .serving(worker, let since, let standby): endedServing(worker, end, report, since, standby, now)
        case .serving(let other, let since, standby: worker):
            phase = .serving(other, since: since, standby: nil)
            actions += [.settle(isAdopted: false), .tell(.upgradeFailed(end))]
        case .handingOver(from: worker, let next):
            guard let next else {
                phase = .resuming(spawn(.proven), isConnected: false, .proven)
                return
            }
            phase = .resuming(next, isConnected: true, .onDisk)
            actions.append(.connect(next))
        case .handingOver(let old, to: worker):
            phase = .handingOver(from: old, to: nil)
            actions += [.settle(isAdopted: false), .tell(.upgradeFailed(end))]
        case .resuming(worker, let isConnected, let binary):
            endedResuming(worker, end, report, isConnected, binary, now)
        case .stopping(worker): finish(Self.status(end, otherwise: 0))
        default: break
        }
    }

    private mutating func endedAtStart(_ end: ProcessEnd) {
        if case .killed = end, stopSignal == nil { actions.append(.tell(.diedAtStart(end))) }
        finish(Self.status(end, otherwise: stopSignal.map { 128 + $0 } ?? 1))
    }

    private mutating func endedServing(
        _ worker: WorkerID,
        _ end: ProcessEnd,
        _ report: WorkerReport,
        _ since: MonotonicInstant,
        _ standby: WorkerID?,
        _ now: MonotonicInstant
    ) {
        if end == .exited(0) || !report.canResume {
            if let standby { actions.append(.kill(standby)) }
            // Status 0: the kernel has let go of the mount, and that was all.
            if end != .exited(0) { actions.append(.tell(.cannotResume(end))) }
            return finish(Self.status(end, otherwise: 1))
        }
        count(worker, end, report, lived: since.duration(to: now), now)
        if isLoop(now) {
            if let standby { actions.append(.kill(standby)) }
            return giveUp(end)
        }
        actions.append(.tell(.died(worker, end)))
        if let standby {
            phase = .resuming(standby, isConnected: false, .onDisk)
        } else {
            respawn(now)
        }
    }

    private mutating func endedResuming(
        _ worker: WorkerID,
        _ end: ProcessEnd,
        _ report: WorkerReport,
        _ isConnected: Bool,
        _ binary: Binary,
        _ now: MonotonicInstant
    ) {
        // It found that nothing is mounted any more.
        if end == .exited(0), isConnected { return finish(0) }
        // Without the connection it has answered nothing: what is written down there is its predecessor's.
        let report = WorkerReport(hasAnswered: report.hasAnswered && isConnected, canResume: report.canResume)
        count(worker, end, report, lived: .zero, now)
        if binary == .onDisk { actions += [.settle(isAdopted: false), .tell(.upgradeFailed(end))] }
        if isLoop(now) { return giveUp(end) }
        actions.append(.tell(.died(worker, end)))
        respawn(now)
    }

    /// Takes a death into the books.
    private mutating func count(
        _ worker: WorkerID,
        _ end: ProcessEnd,
        _ report: WorkerReport,
        lived: Duration,
        _ now: MonotonicInstant
    ) {
        actions.append(.charge(worker, strikes: end.isCrash ? 3 : 1))
        row = report.hasAnswered || lived >= Self.fruitlessLife ? 1 : row + 1
        if end.isCrash { crashes.append(now) }
    }

    private mutating func isLoop(_ now: MonotonicInstant) -> Bool {
        crashes.removeAll { $0.duration(to: now) > Self.crashWindow }
        return row >= Self.maximumRow || crashes.count >= Self.maximumCrashes
    }

    private mutating func giveUp(_ end: ProcessEnd) {
        actions.append(.tell(.crashLoop(end)))
        finish(max(1, Self.status(end, otherwise: 1)))
    }

    /// At once after one death; later and later in a row of them.
    private mutating func respawn(_ now: MonotonicInstant) {
        guard stopSignal == nil else { return finish(0) }
        guard row > 1 else {
            phase = .resuming(spawn(.proven), isConnected: false, .proven)
            return
        }
        let until = now.advanced(by: Self.firstPause * (1 << (row - 2)))
        phase = .pausing(until: until)
        actions.append(.wake(until))
    }

    // MARK: The end

    private mutating func stop(_ signal: Int32, _ now: MonotonicInstant) {
        let isAgain = stopSignal != nil
        stopSignal = signal
        switch phase {
        case .idle: finish(128 + signal)
        case .starting(let worker, _): actions.append(.signal(worker, signal))
        case .serving(let worker, _, let standby):
            if let standby { actions.append(.kill(standby)) }
            phase = .stopping(worker)
            actions.append(.signal(worker, signal))
        case .stopping(let worker): actions.append(.signal(worker, signal))
        case .pausing: finish(0)
        case .handingOver, .resuming:
            // Whoever takes over answers what readers wait for, and unmounts.
            if isAgain { return abandon(status: 128 + signal) }
            stopDeadline = now.advanced(by: Self.patience)
            actions.append(.wake(stopDeadline))
        case .over: break
        }
    }

    private mutating func abandon(status: Int32) {
        switch phase {
        case .resuming(let worker, _, _): actions.append(.kill(worker))
        case .handingOver(let old, let next): actions += [.kill(old)] + (next.map { [.kill($0)] } ?? [])
        default: break
        }
        finish(status)
    }

    private mutating func time(_ now: MonotonicInstant) {
        switch phase {
        case .pausing(let until) where now >= until:
            phase = .resuming(spawn(.proven), isConnected: false, .proven)
        case .resuming where now >= stopDeadline, .handingOver where now >= stopDeadline: abandon(status: 0)
        default: break
        }
    }

    private static func status(_ end: ProcessEnd, otherwise: Int32) -> Int32 {
        if case .exited(let status) = end { return status }
        return otherwise
    }
}

extension ProcessEnd {
    /// It was ended by what it did itself; anything else came from outside.
    var isCrash: Bool {
        guard case .killed(let signal) = self else { return false }
        return [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSYS].contains(signal)
    }
}
