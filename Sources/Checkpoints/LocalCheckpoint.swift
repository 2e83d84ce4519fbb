import Checksums
import Glibc
import LinuxPlatform
import Manifests

/// The directory that a pull fills, and what of it is there from an earlier run.
struct LocalCheckpoint: Sendable {
    private let target: String
    private var partial: String { target + ".penstock-partial" }
    private var files: String { partial + "/files" }

    init(_ target: String) throws(CheckpointError) {
        guard !target.isEmpty, target != "/", !target.utf8.contains(0) else {
            throw CheckpointError(.usage, "'\(target)' cannot be the directory of a checkpoint")
        }
        self.target = target
    }

    /// Whether something stands under the directory's name that a rename would not replace.
    func isOccupied() throws(CheckpointError) -> Bool {
        do throws(Errno) {
            let directory = try FileDescriptor(path: target, flags: O_RDONLY | O_DIRECTORY)
            return try !directory.entries().isEmpty
        } catch {
            if error == .noEntry { return false }
            throw CheckpointError(.disk, "cannot use \(target): \(error)")
        }
    }

    /// Makes the place where files arrive; what is there of another record goes.
    func prepare(for operation: OperationID) throws(CheckpointError) {
        do throws(Errno) {
            let mark = partial + "/operation"
            let wanted = Array(operation.value.utf8)
            if (try? DurableFile.read(mark, limit: 1024)) != wanted {
                try DirectoryTree.remove(partial)
                try DirectoryTree.make(partial)
                try DurableFile.replace(mark, wanted)
            }
            try DirectoryTree.make(files)
            try DirectoryTree.make(partial + "/progress")
        } catch {
            throw CheckpointError(.disk, "cannot use \(partial): \(error)")
        }
    }

    /// How much of a file's beginning is there, and its CRC32C as the disk has it now.
    func resumable(
        _ path: String,
        _ file: CheckpointRecord.File
    ) throws(Errno) -> (offset: Int, crc32c: CRC32C) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        if let slash { try DirectoryTree.make("\(files)/\(path[..<slash])") }
        let noted = (try? DurableFile.read(progress(path), limit: 64)).flatMap {
            Int(String(decoding: $0, as: UTF8.self))
        }
        let local = try FileDescriptor(path: "\(files)/\(path)", flags: O_RDWR | O_CREAT | O_NOFOLLOW)
        guard let noted, (0...file.size).contains(noted), try local.size() >= noted else {
            try local.truncate(to: 0)
            return (0, .empty)
        }
        return (noted, try local.crc32c(upTo: noted))
    }

    func write(_ path: String, _ bytes: UnsafeRawBufferPointer, _ offset: Int) throws(Errno) {
        let local = try FileDescriptor(path: "\(files)/\(path)", flags: O_WRONLY | O_CREAT | O_NOFOLLOW)
        try local.write(bytes, at: offset)
    }

    /// Notes that so many bytes, from the beginning, are there. What it says is compared before it is used.
    func note(_ path: String, _ offset: Int) throws(Errno) {
        try DurableFile.replace(progress(path), Array(String(offset).utf8), isSynchronized: false)
    }

    /// The file was compared: on stable storage, in its length.
    func finish(_ path: String, _ size: Int) throws(Errno) {
        let local = try FileDescriptor(path: "\(files)/\(path)", flags: O_WRONLY | O_NOFOLLOW)
        try local.truncate(to: size)
        try local.synchronize()
        try note(path, size)
    }

    /// Gives the directory its name.
    func publish() throws(CheckpointError) {
        do throws(Errno) {
            try synchronizeDirectories(FileDescriptor(path: files, flags: O_RDONLY | O_DIRECTORY), depth: 0)
            if rename(files, target) != 0 { throw Errno.current }
            let parent = target.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(target[...$0]) } ?? "."
            try FileDescriptor(path: parent, flags: O_RDONLY | O_DIRECTORY).synchronize()
            try DirectoryTree.remove(partial)
        } catch {
            throw CheckpointError(.disk, "cannot give \(target) its name: \(error)")
        }
    }

    private func synchronizeDirectories(_ directory: borrowing FileDescriptor, depth: Int) throws(Errno) {
        if depth > 512 { throw Errno(ELOOP) }
        for entry in try directory.entries() where try directory.status(of: entry.name).kind == .directory {
            try synchronizeDirectories(try directory.directory(entry.name), depth: depth + 1)
        }
        try directory.synchronize()
    }

    private func progress(_ path: String) -> String {
        "\(partial)/progress/\(SHA256Digest.of(Array(path.utf8)).hex)"
    }
}

extension FileDescriptor {
    /// Of the first `count` bytes, read from the file.
    borrowing func crc32c(upTo count: Int) throws(Errno) -> CRC32C {
        let buffer = BufferLease(size: 1 << 20)
        var crc32c = CRC32C.empty
        var offset = 0
        while offset < count {
            let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<min(buffer.count, count - offset)])
            let read = try read(into: wanted, at: offset)
            if read == 0 { throw Errno.inputOutput }
            crc32c = crc32c.updated(with: UnsafeRawBufferPointer(rebasing: wanted[..<read]))
            offset += read
        }
        return crc32c
    }
}
