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
    private let activity: SessionActivity
    private let number: UInt64
    private let interrupted: (@Sendable () -> Void)?
    private let isGiven = Atomic<Bool>(false)
    private let wasInterrupted = Atomic<Bool>(false)

    /// - Parameters:
    ///   - number: from `activity`; `SessionActivity.interrupt` finds the reply by it.
    ///   - interrupted: decides what becomes of an interrupt; nil: it is answered with EINTR.
    init(
        _ request: fuse_req_t,
        _ activity: SessionActivity,
        number: UInt64,
        interrupted: (@Sendable () -> Void)? = nil
    ) {
        self.interrupted = interrupted
        self.request = request
        self.activity = activity
        self.number = number
        activity.began(self, number)
    }

    deinit { error(Errno.inputOutput) }

    /// Runs `answer` if this is the first one; whether the kernel has taken it.
    @discardableResult
    private func once(_ answer: (fuse_req_t) -> Int32) -> Bool {
        guard !isGiven.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        let result = answer(request)
        activity.ended(number)
        return result == 0
    }

    /// The caller in the kernel does not want to wait any longer.
    func interrupt() {
        wasInterrupted.store(true, ordering: .releasing)
        if let interrupted { interrupted() } else { error(Errno.interrupted) }
    }

    var isInterrupted: Bool { wasInterrupted.load(ordering: .acquiring) }

    func error(_ error: FilesystemError) { self.error(Errno(error)) }

    @discardableResult
    func error(_ error: Errno) -> Bool { once { fuse_reply_err($0, error.code) } }

    /// All went well, and there is nothing to say.
    @discardableResult
    func success() -> Bool { once { fuse_reply_err($0, 0) } }

    /// - Returns: false when nobody waits for it any more: then the kernel does not know the inode.
    func entry(_ entry: fuse_entry_param) -> Bool {
        var entry = entry
        return once { fuse_reply_entry($0, &entry) }
    }

    /// - Returns: false when nobody waits for it any more: then the kernel will not release what was opened.
    func opened(_ info: fuse_file_info) -> Bool {
        var info = info
        return once { fuse_reply_open($0, &info) }
    }

    /// As `opened`, for a file that the kernel reads by itself: libfuse 3.14 cannot say so, and passes on what it is given.
    func opened(_ backing: BackingID) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: OpenReply.size, alignment: 8) { answer in
            OpenReply.passthrough(backing, into: answer)
            return once { fuse_reply_buf($0, answer.baseAddress?.assumingMemoryBound(to: CChar.self), answer.count) }
        }
    }

    func created(_ entry: fuse_entry_param, _ info: fuse_file_info) -> Bool {
        var (entry, info) = (entry, info)
        return once { fuse_reply_create($0, &entry, &info) }
    }

    func attributes(_ status: stat, timeout: Double) {
        var status = status
        once { fuse_reply_attr($0, &status, timeout) }
    }

    func target(_ target: String) { once { fuse_reply_readlink($0, target) } }

    func written(_ count: Int) { once { fuse_reply_write($0, count) } }

    func space(_ space: statvfs) {
        var space = space
        once { fuse_reply_statfs($0, &space) }
    }

    /// The value of an extended attribute, or its length when that is asked for by a size of 0 (getxattr(2)).
    func extendedAttribute(_ value: [UInt8], size: Int) {
        if size == 0 {
            once { fuse_reply_xattr($0, value.count) }
        } else if size < value.count {
            error(Errno.range)
        } else {
            value.withUnsafeBytes { buffer($0) }
        }
    }

    func bytes(_ pieces: [UnsafeRawBufferPointer]) { once { FUSEReply.send($0, pieces) } }

    func buffer(_ bytes: UnsafeRawBufferPointer) {
        once { fuse_reply_buf($0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) }
    }

    /// One writev(2), straight from where the bytes are.
    @discardableResult
    static func send(_ request: fuse_req_t, _ pieces: [UnsafeRawBufferPointer]) -> Int32 {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: max(1, pieces.count)) { vector in
            for (index, piece) in pieces.enumerated() {
                let base = UnsafeMutableRawPointer(mutating: piece.baseAddress)
                vector.initializeElement(at: index, to: iovec(iov_base: base, iov_len: piece.count))
            }
            return fuse_reply_iov(request, vector.baseAddress, Int32(pieces.count))
        }
    }
}
