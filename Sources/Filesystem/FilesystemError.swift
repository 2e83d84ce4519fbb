package import BlockCache

/// Why an operation on the filesystem fails: the words of the layer below the kernel, without its numbers.
package enum FilesystemError: Error, Hashable, Sendable, CaseIterable {
    case noEntry
    case notDirectory
    case isDirectory
    /// The mount is read-only.
    case readOnly
    /// The content this inode stands for is gone; looking the name up again finds what is there now.
    case stale
    /// The store failed, or the bytes were not the object's.
    case inputOutput
    case interrupted
    case timedOut
    /// No extended attribute of that name.
    case noAttribute
    /// The caller's buffer is too small for the value.
    case rangeTooSmall
    case notSupported
    case nameTooLong
    case invalidArgument
    case notPermitted

    package init(_ failure: ReadFailure) {
        switch failure {
        case .stale: self = .stale
        case .corrupt, .unavailable: self = .inputOutput
        case .timedOut: self = .timedOut
        case .cancelled: self = .interrupted
        }
    }
}
