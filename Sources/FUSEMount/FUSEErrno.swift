package import Filesystem
package import LinuxPlatform

extension Errno {
    /// The one place where the filesystem's words become the kernel's numbers.
    package init(_ error: FilesystemError) {
        self =
            switch error {
            case .noEntry: .noEntry
            case .notDirectory: .notDirectory
            case .isDirectory: .isDirectory
            case .readOnly: .readOnly
            case .stale: .stale
            case .inputOutput: .inputOutput
            case .interrupted: .interrupted
            case .timedOut: .timedOut
            case .noAttribute: .noData
            case .rangeTooSmall: .range
            case .notSupported: .notSupported
            case .nameTooLong: .nameTooLong
            case .invalidArgument: .invalidArgument
            case .notPermitted: .permission
            }
    }
}
