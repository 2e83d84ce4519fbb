import Glibc

/// A directory of files whose loss matters: the few calls that decide what a crash leaves.
///
/// `LocalDirectory` is the kernel's; tests have one that forgets whatever was not synchronized. Every call may block.
package protocol WritableDirectory: AnyObject, Sendable {
    /// The names of its files, in no order.
    func names() throws(Errno) -> [String]

    /// Makes an empty file that only its owner may read and write.
    ///
    /// - Throws: `exists` when the name is taken.
    func create(_ name: String) throws(Errno) -> any WritableFile

    /// Opens a file that is there, for reading and writing.
    func open(_ name: String) throws(Errno) -> any WritableFile

    /// Gives a file another name of the same directory, replacing what has it.
    func rename(_ name: String, to newName: String) throws(Errno)

    func remove(_ name: String) throws(Errno)

    /// Returns when the names are on stable storage as they are now. What the files hold is another matter.
    func synchronize() throws(Errno)
}

/// An open file of a `WritableDirectory`.
package protocol WritableFile: AnyObject, Sendable {
    /// In bytes.
    func size() throws(Errno) -> Int

    /// Reads until the buffer is full or the file ends; the number of bytes read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int

    /// Writes all of the bytes. When it throws, any part of them may have been written.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Errno)

    /// Cuts the file off, or fills it up with zeros.
    func truncate(to size: Int) throws(Errno)

    /// Returns when the bytes, and what is needed to find them, are on stable storage (fdatasync(2)). After it has thrown,
    /// nobody can say which are, and a second call proves nothing.
    func synchronizeData() throws(Errno)

    /// Has the kernel begin to write the range out, so that less is left for `synchronizeData`. Promises nothing.
    func beginWriting(_ range: Range<Int>)
}

extension WritableFile {
    package func beginWriting(_ range: Range<Int>) {}

    /// Writes all of the bytes at `offset`.
    package func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
        var failure: Errno?
        bytes.withUnsafeBytes { buffer in
            do throws(Errno) { try write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// The bytes of the range that the file has.
    package func bytes(_ range: Range<Int>) throws(Errno) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var outcome: Result<Int, Errno> = .success(0)
        bytes.withUnsafeMutableBytes { buffer in
            do throws(Errno) { outcome = .success(try read(into: buffer, at: range.lowerBound)) } catch {
                outcome = .failure(error)
            }
        }
        bytes.removeLast(bytes.count - (try outcome.get()))
        return bytes
    }
}

/// A directory of the kernel's.
package final class LocalDirectory: WritableDirectory {
    private let descriptor: FileDescriptor

    /// Opens the directory, which must be there.
    ///
    /// - Throws: the `errno` of openat(2).
    package init(path: String) throws(Errno) {
        descriptor = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
    }

    package func names() throws(Errno) -> [String] { try descriptor.entries().map(\.name) }

    package func create(_ name: String) throws(Errno) -> any WritableFile {
        try open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
    }

    package func open(_ name: String) throws(Errno) -> any WritableFile { try open(name, O_RDWR | O_NOFOLLOW) }

    private func open(_ name: String, _ flags: Int32) throws(Errno) -> any WritableFile {
        LocalFile(try FileDescriptor(path: name, flags: flags, mode: 0o600, relativeTo: descriptor.rawValue))
    }

    package func rename(_ name: String, to newName: String) throws(Errno) {
        try descriptor.rename(name, to: descriptor, newName)
    }

    package func remove(_ name: String) throws(Errno) { try descriptor.unlink(name) }
    package func synchronize() throws(Errno) { try descriptor.synchronize() }
}

private final class LocalFile: WritableFile {
    private let descriptor: FileDescriptor

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    func size() throws(Errno) -> Int { try descriptor.size() }
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
        try descriptor.read(into: buffer, at: offset)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Errno) {
        try descriptor.write(bytes, at: offset)
    }
    func truncate(to size: Int) throws(Errno) { try descriptor.truncate(to: size) }
    func synchronizeData() throws(Errno) { try descriptor.synchronizeData() }
    func beginWriting(_ range: Range<Int>) { descriptor.beginWriting(range) }
}
