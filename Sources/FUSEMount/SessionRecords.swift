import Filesystem
import LinuxPlatform

/// The notes of one process for the one after it: those of the requests, and those of the mount.
final class SessionRecords: Sendable {
    /// The number of this process; 1 is the first.
    let worker: UInt32
    let state: KeptState
    private let ledger: Lock<RequestLedger>
    /// What was open when this process began.
    let inherited: [OpenInodes.Entry]

    /// - Parameter countsHandles: false where the tree counts what is open.
    /// - Throws: the `errno` of mapping the memory.
    init(
        worker: UInt32,
        _ state: KeptState,
        opens: consuming FileDescriptor,
        countsHandles: Bool = true
    ) throws(Errno) {
        self.worker = worker
        self.state = state
        state.answered = 0
        let inodes = try OpenInodes(opens)
        let ledger = RequestLedger(
            worker: worker,
            requests: state.requests,
            inodes: inodes,
            countsHandles: countsHandles
        )
        if worker > 1, !state.canResend { ledger.forgetRequests() }
        inherited = ledger.openInodes
        self.ledger = Lock(ledger)
    }

    /// Whether another process served the mount before.
    var isResumed: Bool { worker > 1 }

    /// To be called with each request before it is served.
    func received(_ header: RequestHeader) -> RequestLedger.Step { ledger.withLock { $0.received(header) } }

    /// To be called with each reply before it leaves.
    func answering(_ unique: UInt64, error: Int32, _ content: UnsafeRawBufferPointer) {
        guard error == 0, let open = OpenReply.read(content) else { return }
        ledger.withLock { $0.opening(unique, flags: open.flags, backing: open.backing) }
    }

    /// To be called with each reply when it has left.
    func answered(_ unique: UInt64, isTaken: Bool) {
        ledger.withLock { ledger in
            ledger.answered(unique, isTaken: isTaken)
            state.answered &+= 1
        }
    }
}
