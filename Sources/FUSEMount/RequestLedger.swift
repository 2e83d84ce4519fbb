import CLinux
import Filesystem
import Glibc

/// Takes note of each request before it is served and of each answer before it is given, so that another process can go
/// on where this one was killed: what was done is not done twice, and what killed its servers is not tried for ever.
///
/// Counting the handles of inodes must survive a kill at any instruction without ever counting too few: then the kernel
/// would refuse the next open. An OPEN is counted before its answer, a RELEASE is marked before it is counted, so what a
/// kill between two steps leaves is at most one too many, and that inode keeps its mode. Not thread-safe.
final class RequestLedger {
    /// What is to become of a request.
    enum Step: Equatable {
        case serve
        /// It is answered with this message: a former process had done it.
        case answer([UInt8])
        /// It is answered with this message: it was in process at too many deaths.
        case refuse([UInt8])
    }

    private let worker: UInt32
    private let countsHandles: Bool
    private let requests: RequestTable
    private var inodes: OpenInodes
    private var slots: [UInt64: Int] = [:]
    private var free: [Int] = []

    /// - Parameters:
    ///   - worker: the number of this process; none that wrote to this memory before had it.
    ///   - requests: whose memory stays valid.
    ///   - countsHandles: false where others do: then no OPEN or RELEASE is answered from here.
    init(worker: UInt32, requests: RequestTable, inodes: consuming OpenInodes, countsHandles: Bool = true) {
        self.worker = worker
        self.countsHandles = countsHandles
        self.requests = requests
        self.inodes = inodes
        for slot in (0..<requests.capacity).reversed() {
            if let entry = requests.entry(slot) { slots[entry.number] = slot } else { free.append(slot) }
        }
    }

    /// What former processes have left will not come again. What was counted stays so: nobody knows whether the kernel has
    /// the answer.
    func forgetRequests() {
        for slot in slots.values {
            requests.free(slot)
            free.append(slot)
        }
        slots = [:]
    }

    /// What is open, in no order.
    var openInodes: [OpenInodes.Entry] { inodes.entries }

    /// A request has come from the kernel.
    func received(_ header: RequestHeader) -> Step {
        guard header.isAnswered, header.opcode != clinux_fuse_init else { return .serve }
        if header.isResent, let slot = slots[header.number], let entry = requests.entry(slot) {
            requests.takeAgain(slot, by: worker)
            if entry.isApplied { return .answer(Self.answer(to: header, entry)) }
            if entry.strikes >= RequestTable.maximumStrikes, header.opcode != clinux_fuse_release {
                return .refuse(ReplyMessage.error(EIO, to: header.unique))
            }
            release(header, slot)
            return .serve
        }
        guard let slot = freeSlot() else { return .serve }
        requests.take(slot, header, by: worker)
        slots[header.number] = slot
        release(header, slot)
        return .serve
    }

    /// What a former process had done already, and did not get to say.
    private static func answer(to header: RequestHeader, _ entry: RequestTable.Entry) -> [UInt8] {
        header.opcode == clinux_fuse_open
            ? ReplyMessage.opened(flags: entry.openFlags, backing: entry.backing, to: header.unique)
            : ReplyMessage.error(0, to: header.unique)
    }

    private func release(_ header: RequestHeader, _ slot: Int) {
        guard countsHandles, header.opcode == clinux_fuse_release else { return }
        requests.apply(slot)
        inodes.release(header.node)
    }

    /// An answer is about to leave that may be one to an OPEN.
    func opening(_ unique: UInt64, flags: UInt32, backing: Int32) {
        guard countsHandles, let slot = slots[RequestHeader.number(unique)], let entry = requests.entry(slot),
            entry.opcode == clinux_fuse_open, !entry.isApplied
        else { return }
        inodes.open(entry.node, backing: backing)
        requests.apply(slot, openFlags: flags, backing: backing)
    }

    /// An answer has left.
    ///
    /// - Parameter isTaken: false when the kernel did not want it any more.
    func answered(_ unique: UInt64, isTaken: Bool) {
        guard let slot = slots.removeValue(forKey: RequestHeader.number(unique)) else { return }
        if !isTaken, let entry = requests.entry(slot), entry.opcode == clinux_fuse_open, entry.isApplied {
            inodes.release(entry.node)
        }
        requests.free(slot)
        free.append(slot)
    }

    /// When all are in use, one that a former process has left goes: most likely it was answered just before the death.
    private func freeSlot() -> Int? {
        if let slot = free.popLast() { return slot }
        let old = slots.first { requests.entry($0.value)?.worker != worker }
        guard let old else { return nil }
        slots[old.key] = nil
        requests.free(old.value)
        return old.value
    }
}
