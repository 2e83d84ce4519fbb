import Glibc

/// Memory of a fixed, page-aligned size, on loan from a pool; it goes back when the last reference goes.
///
/// The holder decides who writes: a lease is handed on, not shared, while it is being filled, and read-only after that.
package final class BufferLease: @unchecked Sendable {  // one writer at a time, by the rule above
    /// The whole buffer. Its contents are undefined until written.
    package let bytes: UnsafeMutableRawBufferPointer
    private let pool: BufferPool?

    fileprivate init(bytes: UnsafeMutableRawBufferPointer, pool: BufferPool?) {
        self.bytes = bytes
        self.pool = pool
    }

    /// A buffer outside every pool, freed with its last reference. For tests and for one-off control traffic.
    ///
    /// - Parameter size: in bytes, rounded up to whole pages.
    package convenience init(size: Int) {
        self.init(bytes: allocatePages(size), pool: nil)
    }

    package var count: Int { bytes.count }

    deinit {
        if let pool {
            pool.takeBack(bytes)
        } else {
            releasePages(bytes)
        }
    }
}

/// A bounded set of equal buffers, made on demand and reused.
///
/// The bound is the caller's memory budget: `lease` gives nil when all are out, and waiting is the caller's design,
/// never hidden here.
package final class BufferPool: Sendable {
    private struct State {
        var free: [UnsafeMutableRawBufferPointer] = []
        var made = 0
    }

    /// The size of each buffer, in bytes.
    package let bufferSize: Int
    /// How many buffers there may be at once.
    package let capacity: Int
    private let state = Lock(State())

    package init(bufferSize: Int, capacity: Int) {
        precondition(bufferSize > 0 && capacity > 0)
        self.bufferSize = bufferSize
        self.capacity = capacity
    }

    /// A buffer, or nil when all of them are out.
    package func lease() -> BufferLease? {
        let bytes = state.withLock { state -> UnsafeMutableRawBufferPointer? in
            if let reused = state.free.popLast() { return reused }
            guard state.made < capacity else { return nil }
            state.made += 1
            return allocatePages(bufferSize)
        }
        return bytes.map { BufferLease(bytes: $0, pool: self) }
    }

    /// Gives the memory of the buffers that nobody holds back to the kernel.
    package func trim() {
        let unused = state.withLock { state in
            defer {
                state.made -= state.free.count
                state.free = []
            }
            return state.free
        }
        unused.forEach(releasePages)
    }

    /// Buffers out on loan now.
    package var leased: Int { state.withLock { $0.made - $0.free.count } }

    fileprivate func takeBack(_ bytes: UnsafeMutableRawBufferPointer) {
        state.withLock { $0.free.append(bytes) }
    }

    deinit { trim() }
}

// mmap and not malloc: freed memory really goes back, and page alignment is what O_DIRECT wants.
private func allocatePages(_ size: Int) -> UnsafeMutableRawBufferPointer {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let rounded = max(page, (size + page - 1) / page * page)
    let memory = mmap(nil, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else {
        fatalError("out of memory: mmap of \(rounded) bytes failed: \(Errno.current)")
    }
    return UnsafeMutableRawBufferPointer(start: memory, count: size)
}

private func releasePages(_ bytes: UnsafeMutableRawBufferPointer) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    munmap(bytes.baseAddress, max(page, (bytes.count + page - 1) / page * page))
}
