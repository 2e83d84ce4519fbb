package import LinuxPlatform

/// Why a journal cannot be read or written. Shows no content: session URIs stand in it.
package enum JournalError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A call of the kernel failed; what was not committed before is not.
    case system(Errno, during: String, file: String)
    /// A synchronization failed: what the disk holds is not known. Nothing is committed any more until the next start.
    case unsynchronized(Errno, file: String)
    /// Records that were on stable storage are gone or changed.
    case damaged(file: String, offset: Int, reason: String)
    /// The format is a later one.
    case newer(file: String, version: UInt32)
    /// A record or a checkpoint is larger than a journal takes.
    case tooLarge(count: Int, limit: Int)

    package var description: String {
        switch self {
        case .system(let error, let call, let file): "cannot \(call) the journal's \(file): \(error)"
        case .unsynchronized(let error, let file):
            "the disk did not confirm what was written to the journal's \(file) (\(error)): check the disk and start again"
        case .damaged(let file, let offset, let reason):
            "the journal's \(file) is damaged at byte \(offset): \(reason); what it held is not replaced by a guess"
        case .newer(let file, let version):
            "the journal's \(file) has the format \(version), of a newer Penstock: start that one"
        case .tooLarge(let count, let limit): "a journal takes \(limit) bytes here, not \(count)"
        }
    }

    /// What the caller of a file operation is told.
    package var errno: Errno {
        switch self {
        case .system(let error, _, _) where error == .noSpace: .noSpace
        default: .inputOutput
        }
    }
}
