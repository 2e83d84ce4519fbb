import CLinux
import Glibc

/// Memory that a descriptor names (memfd_create(2)): who holds the descriptor keeps it, also after this process.
package struct MemoryFile: ~Copyable, @unchecked Sendable {  // the mapping is this value's own; it is never copied
    package let descriptor: FileDescriptor
    /// The whole of it; moves when it grows.
    package private(set) var bytes: UnsafeMutableRawBufferPointer

    /// A new one, filled with zeros.
    ///
    /// - Parameters:
    ///   - name: for people, shown in /proc.
    ///   - size: in bytes, above 0.
    /// - Throws: the `errno` of memfd_create(2), ftruncate(2) or mmap(2).
    package init(name: String, size: Int) throws(Errno) {
        let descriptor = FileDescriptor(owning: try retryingOnInterrupt { clinux_memfd_create(name) })
        let raw = descriptor.rawValue
        _ = try retryingOnInterrupt { ftruncate(raw, off_t(size)) }
        let bytes = try Self.map(raw, size)
        self.init(descriptor: descriptor, bytes: bytes)
    }

    /// Takes over what another process made.
    ///
    /// - Throws: `invalidArgument` when it is empty, or the `errno` of fstat(2) or mmap(2).
    package init(adopting descriptor: consuming FileDescriptor) throws(Errno) {
        let size = try descriptor.size()
        guard size > 0 else { throw .invalidArgument }
        let bytes = try Self.map(descriptor.rawValue, size)
        self.init(descriptor: descriptor, bytes: bytes)
    }

    /// Takes over a descriptor of memory, made as large as it must be.
    ///
    /// - Throws: the `errno` of fstat(2), ftruncate(2) or mmap(2).
    package init(adopting descriptor: consuming FileDescriptor, atLeast size: Int) throws(Errno) {
        let raw = descriptor.rawValue
        if try descriptor.size() < size { _ = try retryingOnInterrupt { ftruncate(raw, off_t(size)) } }
        try self.init(adopting: descriptor)
    }

    /// Only the descriptor of new, empty memory.
    ///
    /// - Throws: the `errno` of memfd_create(2).
    package static func empty(name: String) throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try retryingOnInterrupt { clinux_memfd_create(name) })
    }

    private init(descriptor: consuming FileDescriptor, bytes: UnsafeMutableRawBufferPointer) {
        self.descriptor = descriptor
        self.bytes = bytes
    }

    deinit { munmap(bytes.baseAddress, bytes.count) }

    /// Makes it larger; what is new is zeros. Pointers into `bytes` are void after this.
    ///
    /// - Throws: the `errno` of ftruncate(2) or mremap(2); then it is as it was.
    package mutating func grow(to size: Int) throws(Errno) {
        precondition(size >= bytes.count)
        let raw = descriptor.rawValue
        _ = try retryingOnInterrupt { ftruncate(raw, off_t(size)) }
        guard let moved = clinux_mremap(bytes.baseAddress, bytes.count, size), moved != MAP_FAILED else {
            throw Errno.current
        }
        bytes = UnsafeMutableRawBufferPointer(start: moved, count: size)
    }

    private static func map(_ descriptor: Int32, _ size: Int) throws(Errno) -> UnsafeMutableRawBufferPointer {
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let memory, memory != MAP_FAILED else { throw Errno.current }
        return UnsafeMutableRawBufferPointer(start: memory, count: size)
    }
}
