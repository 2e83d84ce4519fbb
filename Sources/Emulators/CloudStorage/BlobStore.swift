import Checksums
import Glibc
import LinuxPlatform

/// The bytes of objects and of uploads: one file each, under a number that is never used again.
struct BlobStore: Sendable {
    let directory: String

    /// - Throws: the `errno` of mkdir(2).
    init(directory: String) throws(Errno) {
        self.directory = directory
        try makeDirectory(directory)
    }

    func path(_ blob: Int64) -> String { "\(directory)/\(blob)" }

    func create(_ blob: Int64) throws(Errno) -> FileDescriptor {
        try FileDescriptor(path: path(blob), flags: O_RDWR | O_CREAT | O_EXCL)
    }

    func open(_ blob: Int64) throws(Errno) -> FileDescriptor { try FileDescriptor(path: path(blob), flags: O_RDWR) }

    func remove(_ blob: Int64) { unlink(path(blob)) }

    /// Removes every blob that is not named.
    func removeAll(except kept: Set<Int64>) throws(Errno) {
        for name in try directoryEntries(directory) where !(Int64(name).map(kept.contains) ?? false) {
            unlink("\(directory)/\(name)")
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
        return base64(hasher.finalize().bytes)
    }

    /// All bytes at once, for what is small.
    func bytes(of extents: [StoredObject.Extent]) throws(Errno) -> [UInt8] {
        var all: [UInt8] = []
        try forEachPiece(of: extents) { all.append(contentsOf: $0) }
        return all
    }
}

/// Makes a directory and those above it, unless they are there.
func makeDirectory(_ path: String) throws(Errno) {
    var partial = ""
    for part in path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true) {
        partial += (partial.isEmpty && path.utf8.first != UInt8(ascii: "/") ? "" : "/") + String(Substring(part))
        do throws(Errno) {
            _ = try retryingOnInterrupt { mkdir(partial, 0o755) }
        } catch .exists {
            continue
        }
    }
}

/// The names in a directory, without `.` and `..`.
func directoryEntries(_ path: String) throws(Errno) -> [String] {
    guard let stream = opendir(path) else { throw Errno.current }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}
