import Glibc
package import LinuxPlatform

/// A directory of a test's own; removed, with all that is in it, when the last reference goes.
package final class TemporaryDirectory: Sendable {
    /// Absolute.
    package let path: String

    /// - Throws: the `errno` of mkdtemp(3).
    package init() throws(Errno) {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/penstock-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.current }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path of `name` in it.
    package func appending(_ name: String) -> String { "\(path)/\(name)" }

    // What cannot be removed (a mount of a test that failed) is left for whoever looks into the failure.
    deinit { try? DirectoryTree.remove(path) }
}
