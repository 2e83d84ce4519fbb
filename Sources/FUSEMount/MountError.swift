import LinuxPlatform

/// Why something could not be mounted or unmounted.
package struct MountError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable {
        /// The path, or what is at it, cannot be used: the caller's mistake.
        case unusable
        /// Open files or working directories hold it.
        case busy
        case notPermitted
        /// No /dev/fuse, or no fusermount3.
        case noFUSE
        case system
    }

    package let code: Code
    /// For people: what happened, where, and what to do.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    init(_ what: String, _ error: Errno) {
        code = error == .permission || error == .access ? .notPermitted : .system
        message = "\(what): \(error)"
    }

    package var description: String { message }
}
