import CFuse3
import Filesystem
import Glibc
import LinuxPlatform
import Synchronization

/// The answer to one request that the kernel waits for: given exactly once, from any thread.
///
/// A second answer is ignored; a reply that goes away unanswered answers EIO, because a caller in the kernel would wait
/// for ever.
final class FUSEReply: @unchecked Sendable {  // libfuse's replies may come from any thread; `isGiven` lets one through
    private let request: fuse_req_t
    private let inFlight: InFlight
    private let isGiven = Atomic<Bool>(false)

    init(_ request: fuse_req_t, _ inFlight: InFlight) {
        self.request = request
        self.inFlight = inFlight
        inFlight.began()
    }

    deinit { error(.inputOutput) }

    /// Runs `answer` if this is the first one. What libfuse returns is of no use: an error means that the kernel does
    /// not wait any more.
    private func once(_ answer: (fuse_req_t) -> Void) {
        guard !isGiven.exchange(true, ordering: .acquiringAndReleasing) else { return }
        answer(request)
        inFlight.ended()
    }

    func error(_ error: FilesystemError) { once { fuse_reply_err($0, Errno(error).code) } }

    func entry(_ entry: fuse_entry_param) {
        var entry = entry
        once { fuse_reply_entry($0, &entry) }
    }

    func opened(_ info: fuse_file_info) {
        var info = info
        once { fuse_reply_open($0, &info) }
    }

    func bytes(_ pieces: [UnsafeRawBufferPointer]) { once { FUSEReply.send($0, pieces) } }

    func buffer(_ bytes: UnsafeRawBufferPointer) {
        once { fuse_reply_buf($0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) }
    }

    /// One writev(2), straight from where the bytes are.
    static func send(_ request: fuse_req_t, _ pieces: [UnsafeRawBufferPointer]) {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: max(1, pieces.count)) { vector in
            for (index, piece) in pieces.enumerated() {
                let base = UnsafeMutableRawPointer(mutating: piece.baseAddress)
                vector.initializeElement(at: index, to: iovec(iov_base: base, iov_len: piece.count))
            }
            _ = fuse_reply_iov(request, vector.baseAddress, Int32(pieces.count))
        }
    }
}

/// Requests that wait for an answer.
final class InFlight: Sendable {
    private let waiting = Atomic<Int>(0)
    var count: Int { waiting.load(ordering: .relaxed) }
    func began() { waiting.add(1, ordering: .relaxed) }
    func ended() { waiting.subtract(1, ordering: .relaxed) }
}
