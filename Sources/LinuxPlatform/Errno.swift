import CLinux
import Glibc

/// An error number of the kernel, as a typed error.
///
/// Source: errno(3). Thrown by every call of this module that enters the kernel.
package struct Errno: Error, Equatable, Hashable, Sendable, CustomStringConvertible {
    package let code: Int32

    package init(_ code: Int32) { self.code = code }

    /// The calling thread's `errno`. Read it before anything else can run on the thread.
    package static var current: Errno { Errno(errno) }

    package static let noEntry = Errno(ENOENT)
    package static let exists = Errno(EEXIST)
    package static let inputOutput = Errno(EIO)
    package static let interrupted = Errno(EINTR)
    package static let invalidArgument = Errno(EINVAL)
    package static let noSpace = Errno(ENOSPC)
    package static let permission = Errno(EPERM)
    package static let access = Errno(EACCES)
    package static let notConnected = Errno(ENOTCONN)
    package static let stale = Errno(ESTALE)
    package static let wouldBlock = Errno(EAGAIN)
    package static let isDirectory = Errno(EISDIR)
    package static let notDirectory = Errno(ENOTDIR)
    package static let readOnly = Errno(EROFS)
    package static let timedOut = Errno(ETIMEDOUT)
    package static let notSupported = Errno(ENOTSUP)
    package static let notImplemented = Errno(ENOSYS)
    package static let noData = Errno(ENODATA)
    package static let range = Errno(ERANGE)
    package static let nameTooLong = Errno(ENAMETOOLONG)

    /// The C library's sentence for the number, for example "No such file or directory".
    package var description: String {
        var buffer = [CChar](repeating: 0, count: 256)
        return buffer.withUnsafeMutableBufferPointer { pointer in
            guard let base = pointer.baseAddress, let text = clinux_error_text(code, base, pointer.count) else {
                return "errno \(code)"
            }
            return String(cString: text)
        }
    }
}

/// Runs a system call until it is not interrupted; throws its `errno` when it returns a negative number.
@inline(never)
package func retryingOnInterrupt<Value: SignedInteger>(_ call: () -> Value) throws(Errno) -> Value {
    while true {
        let result = call()
        if result >= 0 { return result }
        let error = Errno.current
        if error != .interrupted { throw error }
    }
}
