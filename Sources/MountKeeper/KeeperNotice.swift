import LinuxPlatform
import Telemetry

/// What a process has left behind in the memory of its mount.
struct WorkerReport: Hashable, Sendable {
    /// It has answered something.
    var hasAnswered: Bool
    /// The kernel can send again what it has not answered.
    var canResume: Bool
}

/// What operators want to know of a keeper.
enum KeeperNotice: Hashable, Sendable {
    case diedAtStart(ProcessEnd)
    case died(WorkerID, ProcessEnd)
    case resumed(WorkerID)
    case cannotResume(ProcessEnd)
    case crashLoop(ProcessEnd)
    case upgradeFailed(ProcessEnd)

    func write(to log: Log) {
        switch self {
        case .diedAtStart(let end):
            log.error("the process that serves died before the mount was ready", ["end": LogValue(end)])
        case .died(let worker, let end):
            log.error(
                "the process that serves the mount died; readers wait for the next one",
                ["process": .integer(Int(worker.number)), "end": LogValue(end)]
            )
        case .resumed(let worker): log.info("readers go on", ["process": .integer(Int(worker.number))])
        case .cannotResume(let end):
            log.error(
                "the process that serves the mount died, and this kernel cannot send requests again (Linux 6.9 can)",
                ["end": LogValue(end)]
            )
        case .crashLoop(let end):
            log.error("the processes that serve the mount die one after the other: unmounting", ["end": LogValue(end)])
        case .upgradeFailed(let end):
            log.error("the program on the disk did not get ready: the old one serves on", ["end": LogValue(end)])
        }
    }
}
