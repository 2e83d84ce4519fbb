import Filesystem
import Glibc
import LinuxPlatform
import Testing

@testable import FUSEMount

struct FUSEErrnoTests {
    private static let rows: [(FilesystemError, Int32)] = [
        (.noEntry, ENOENT), (.notDirectory, ENOTDIR), (.isDirectory, EISDIR), (.readOnly, EROFS), (.stale, ESTALE),
        (.inputOutput, EIO), (.interrupted, EINTR), (.timedOut, ETIMEDOUT), (.noAttribute, ENODATA),
        (.rangeTooSmall, ERANGE), (.notSupported, ENOTSUP), (.nameTooLong, ENAMETOOLONG), (.invalidArgument, EINVAL),
        (.notPermitted, EPERM),
    ]

    @Test(arguments: rows)
    func errorsHaveTheirNumber(error: FilesystemError, number: Int32) {
        #expect(Errno(error).code == number)
    }

    @Test func noErrorIsWithoutARow() {
        #expect(Set(Self.rows.map(\.0)) == Set(FilesystemError.allCases))
    }
}
