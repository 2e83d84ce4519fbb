import Checksums
import Glibc
import LinuxPlatform

/// The bytes of objects and of uploads: one file each, under a number that is never used again.
struct BlobStore: Sendable {
    let directory: String

    /// - Throws: the `errno` of mkdir(2).
    init(directory: String) throws(Errno) {
        self.directory = directory
        try DirectoryTree.make(directory, mode: 0o755)
    }

    func path(_ blob: Int64) -> String { "\(directory)/\(blob)" }

    func create(_ blob: Int64) throws(Errno) -> FileDescriptor {
        try FileDescriptor(path: path(blob), flags: O_RDWR | O_CREAT | O_EXCL)
    }

    func open(_ blob: Int64) throws(Errno) -> FileDescriptor { try FileDescriptor(path: path(blob), flags: O_RDWR) }

    func remove(_ blob: Int64) { unlink(path(blob)) }

    /// Removes every blob that is not named.
    func removeAll(except kept: Set<Int64>) throws(Errno) {
        let directory = try FileDescriptor(path: directory, flags: O_RDONLY | O_DIRECTORY)
        for entry in try directory.entries() where !(Int64(entry.name).map(kept.contains) ?? false) {
            try directory.unlink(entry.name)
        }
    }

    /// Lends the bytes of the extents in order, in pieces.
    func forEachPiece(of extents: [StoredObject.Extent], _ body: (UnsafeRawBufferPointer) -> Void) throws(Errno) {
        let buffer = BufferLease(size: 1 << 20)
        for extent in extents {
            let file = try open(extent.blob)
            var done = 0
            while done < extent.count {
                let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes.prefix(extent.count - done))
                let count = try file.read(into: wanted, at: extent.offset + done)
                if count == 0 { throw .inputOutput }
                body(UnsafeRawBufferPointer(rebasing: wanted[..<count]))
                done += count
            }
        }
    }

    /// In base64.
    func md5(of extents: [StoredObject.Extent]) throws(Errno) -> String {
        var hasher = MD5Hasher()
        try forEachPiece(of: extents) { hasher.update($0) }
        return Base64.encode(hasher.finalize().bytes)
    }

    /// All bytes at once, for what is small.
    func bytes(of extents: [StoredObject.Extent]) throws(Errno) -> [UInt8] {
        var all: [UInt8] = []
        try forEachPiece(of: extents) { all.append(contentsOf: $0) }
        return all
    }
}
