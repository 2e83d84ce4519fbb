import Glibc
import LinuxPlatform
import ObjectStorage

/// Reads a whole data file back, from the disk and not from the page cache where the filesystem can, and compares it.
enum DiskProof {
    private static let pieceSize = 4 << 20

    /// - Parameter lose: called for each block that is not what it should be.
    /// - Returns: what the kernel says of the file when all of it is right and nobody changed it meanwhile.
    static func run(
        _ files: DiskFiles,
        _ disk: DiskCache,
        _ checks: ContentChecks,
        _ lose: (Int) -> Void
    ) -> FileStatus? {
        let identity = files.identity
        let buffer = BufferLease(size: pieceSize)
        do throws(Errno) {
            let before = try files.status()
            guard before.links > 0 else { return nil }
            let reader = try Reader.open(DiskFiles.dataName(identity), inode: files.inode, in: disk.directory)
            var isRight = true
            var offset = 0
            while offset < identity.size {
                let range = ByteRange(offset: offset, count: min(pieceSize, identity.size - offset))
                let memory = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<range.count])
                let count = try reader.read(into: memory, at: offset)
                for block in BlockGeometry.blocks(of: range) {
                    if matches(block, range, memory, count: count, checks, identity.size) { continue }
                    isRight = false
                    lose(block)
                }
                offset = range.end
            }
            let after = try files.status()
            return isRight && after.modified == before.modified && after.size == identity.size ? after : nil
        } catch {
            disk.failed(error, "reading back a file of the cache")
            return nil
        }
    }

    private static func matches(
        _ block: Int,
        _ range: ByteRange,
        _ memory: UnsafeMutableRawBufferPointer,
        count: Int,
        _ checks: ContentChecks,
        _ size: Int
    ) -> Bool {
        let start = block * BlockGeometry.blockSize
        let piece = ByteRange(offset: start, count: min(start + BlockGeometry.blockSize, range.end) - start)
        guard piece.end - range.offset <= count else { return false }
        let bytes = memory[(start - range.offset)..<(piece.end - range.offset)]
        return checks.prove(piece, UnsafeRawBufferPointer(rebasing: bytes), size: size)
    }

    /// Reads past the page cache; the bytes behind the last whole sector, and where that cannot be done, through it.
    private struct Reader: ~Copyable {
        private static let sector = 4096
        private let cached: FileDescriptor
        private let direct: FileDescriptor?

        /// - Throws: `stale` when another file stands under the name, or the `errno` of the call that failed.
        static func open(
            _ name: String,
            inode: UInt64,
            in directory: borrowing FileDescriptor
        ) throws(Errno) -> Reader {
            let flags = O_RDONLY | O_NOFOLLOW
            let cached = try FileDescriptor(path: name, flags: flags, relativeTo: directory.rawValue)
            guard try cached.status().inode == inode else { throw .stale }
            // Written out and dropped, the pages that are read through the cache come from the disk as well.
            try cached.synchronizeData()
            cached.dropPageCache()
            return Reader(cached: cached, direct: openDirect(name, inode: inode, in: directory))
        }

        private static func openDirect(
            _ name: String,
            inode: UInt64,
            in directory: borrowing FileDescriptor
        ) -> FileDescriptor? {
            let flags = O_RDONLY | O_NOFOLLOW | FileDescriptor.direct
            guard let file = try? FileDescriptor(path: name, flags: flags, relativeTo: directory.rawValue),
                let status = try? file.status(), status.inode == inode
            else { return nil }
            return file
        }

        func read(into memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
            let aligned = memory.count / Self.sector * Self.sector
            var done = 0
            if direct != nil, aligned > 0 {
                done = try readDirect(UnsafeMutableRawBufferPointer(rebasing: memory[..<aligned]), at: offset)
                if done < aligned, done % Self.sector != 0 { return done }
            }
            let rest = UnsafeMutableRawBufferPointer(rebasing: memory[done...])
            return done + (rest.isEmpty ? 0 : try cached.read(into: rest, at: offset + done))
        }

        /// 0 where the filesystem refuses after all.
        private func readDirect(_ memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
            do throws(Errno) {
                return try direct?.read(into: memory, at: offset) ?? 0
            } catch {
                if error == .invalidArgument { return 0 }
                throw error
            }
        }
    }
}
