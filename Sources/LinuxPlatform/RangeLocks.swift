import CLinux
import Glibc

// Locks of parts of a file, between processes and between openings of one process (OFD locks, fcntl(2)): they belong to
// the opening and go with its last descriptor, however the process ends.
extension FileDescriptor {
    /// Locks some bytes of the file, which need not exist, without waiting.
    ///
    /// - Parameter range: nil: the whole file, however long it gets.
    /// - Returns: whether we have the lock now; false: another opening has one that excludes it.
    package func tryLock(_ range: Range<Int>? = nil, isExclusive: Bool) throws(Errno) -> Bool {
        do throws(Errno) {
            try setLock(range, isExclusive ? 1 : 0)
            return true
        } catch {
            if error == .wouldBlock || error == .access { return false }
            throw error
        }
    }

    /// Gives up what this opening has locked of the range. Nothing happens where it has nothing.
    package func unlock(_ range: Range<Int>? = nil) { try? setLock(range, -1) }

    private func setLock(_ range: Range<Int>?, _ kind: Int32) throws(Errno) {
        let (start, count) = range.map { ($0.lowerBound, $0.count) } ?? (0, 0)
        precondition(range == nil || count > 0, "an empty range would lock the rest of the file")
        _ = try retryingOnInterrupt { clinux_lock_range(rawValue, kind, start, count) }
    }
}
