package import LinuxPlatform

/// A file that holds exactly a content's bytes, all of them read back from the disk and proven by this process.
///
/// The kernel may read it in the daemon's place. The lock that keeps it from being evicted lives on its descriptor, so it
/// lasts as long as this value or any reference of the kernel's to the open file, whichever goes last.
package final class BackingFile: Sendable {
    /// Of the file and of the content, in bytes.
    package let size: Int
    private let file: FileDescriptor

    /// - Parameter file: open for reading, `size` bytes long; nobody else uses this opening.
    package init(_ file: consuming FileDescriptor, size: Int) {
        self.file = file
        self.size = size
    }

    /// Borrow it; never close it.
    package var descriptor: Int32 { file.rawValue }

    /// What it takes of the disk though its name is gone.
    var deletedBytes: Int {
        guard let status = try? file.status(), status.links == 0 else { return 0 }
        return status.allocated
    }
}

/// Where the proven file of a content is found.
package protocol BackingSource: AnyObject, Sendable {
    /// The file, if there is one that may be used now; without I/O that waits for a disk.
    func backing() -> BackingFile?
}
