/// How a command ends: fixed, so that Kubernetes Jobs (`podFailurePolicy`) and scripts can go by it.
package enum ExitStatus: Int32, Sendable, CaseIterable {
    case ok = 0
    /// A defect of Penstock. Repeating may help, reporting does.
    case `internal` = 1
    /// The command, its settings or its destination are not as they must be; nothing was changed.
    case usage = 2
    /// Bytes are not what they should be; nothing wrong was published.
    case integrity = 3
    /// A repository, revision, file, bucket or object is not there, or is gated.
    case notFound = 4
    /// Credentials are missing, expired or not allowed to do this.
    case credentials = 5
    /// The same command may succeed later without anybody changing anything.
    case retryable = 6
    /// Part of the work is done and kept; the same command goes on from there.
    case partial = 7
    /// SIGINT or SIGTERM; the same command goes on from where it was.
    case interrupted = 130
}
