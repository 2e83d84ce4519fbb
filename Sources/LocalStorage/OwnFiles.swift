import Glibc
import LinuxPlatform
import ObjectStorage

/// The store's own directory in the one it serves, opened: attributes, what is being written, uploads.
///
/// A change makes it. Whoever only reads does without it where it is missing, and needs no permission to write.
final class OwnFiles: Sendable {
    private static let directories = ["attributes", "temporary", "uploads", "multiparts"]

    /// `LocalPath.hiddenDirectory`.
    let directory: FileDescriptor
    let attributes: FileDescriptor
    let temporary: FileDescriptor

    private init(_ directory: consuming FileDescriptor) throws(Errno) {
        attributes = try directory.directory("attributes")
        temporary = try directory.directory("temporary")
        self.directory = directory
    }

    /// What is there; nil when nothing is, or not all of it: then no change has got far enough to need it.
    ///
    /// - Parameter root: the directory that is served, and its path.
    static func existing(
        in root: borrowing FileDescriptor,
        _ path: String
    ) throws(ObjectStoreError) -> OwnFiles? {
        do throws(Errno) {
            return try OwnFiles(try root.directory(LocalPath.hiddenDirectory))
        } catch {
            if error == .noEntry { return nil }
            return try onDisk("open the store's own files in", path) { () throws(Errno) in throw error }
        }
    }

    /// Makes what is missing.
    static func made(in root: borrowing FileDescriptor, _ path: String) throws(ObjectStoreError) -> OwnFiles {
        try onDisk("make the store's own files in", path) { () throws(Errno) in
            let directory = try subdirectory(of: root, LocalPath.hiddenDirectory)
            for name in directories { _ = try subdirectory(of: directory, name) }
            return try OwnFiles(directory)
        }
    }

    private static func subdirectory(
        of parent: borrowing FileDescriptor,
        _ name: String
    ) throws(Errno) -> FileDescriptor {
        // Whoever may write to the directory may use the store; sessions are nobody else's business.
        do throws(Errno) { try parent.makeDirectory(name, mode: name == "uploads" ? 0o700 : 0o777) } catch {
            if error != .exists { throw error }
        }
        return try parent.directory(name)
    }

    /// Removes temporary files of a day ago and uploads of a week ago: those who made them are gone.
    ///
    /// - Parameter path: of the directory that is served.
    func removeAbandoned(_ path: String, now: UnixTime) {
        for (name, age) in [
            ("temporary", Duration.seconds(86_400)), ("uploads", .seconds(7 * 86_400)),
            ("multiparts", .seconds(7 * 86_400)),
        ] {
            guard let folder = try? directory.directory(name), let entries = try? folder.entries() else { continue }
            for entry in entries {
                guard let status = try? folder.status(of: entry.name), status.modified.advanced(by: age) < now else {
                    continue
                }
                if status.kind == .directory {
                    try? DirectoryTree.remove("\(path)/\(LocalPath.hiddenDirectory)/\(name)/\(entry.name)")
                } else {
                    try? folder.unlink(entry.name)
                }
            }
        }
    }
}
