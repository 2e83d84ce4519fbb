import Glibc

/// Memory of a fixed, page-aligned size, on loan from a pool; it goes back when the last reference goes.
///
/// The holder decides who writes: a lease is handed on, not shared, while it is being filled, and read-only after that.
package final class BufferLease: @unchecked Sendable {  // one writer at a time, by the rule above
    /// The whole buffer. Its contents are undefined until written.
    package let bytes: UnsafeMutableRawBufferPointer
    private let pool: BufferPool?
    private let owner: AnyObject?

    fileprivate init(bytes: UnsafeMutableRawBufferPointer, pool: BufferPool?) {
        self.bytes = bytes
        self.pool = pool
        owner = nil
    }

    /// Memory that `owner` frees when it goes, and not before the lease does. Who may write to it is the owner's affair.
    package init(borrowing bytes: UnsafeMutableRawBufferPointer, from owner: AnyObject) {
        self.bytes = bytes
        self.owner = owner
        pool = nil
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
        } else if owner == nil {
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
        /// Those who wait, first come first served. Keys are never used again.
        var waiting: [(key: Int, continuation: CheckedContinuation<BufferLease?, Never>)] = []
        var lastKey = 0
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
            guard state.waiting.isEmpty else { return nil }
            if let reused = state.free.popLast() { return reused }
            guard state.made < capacity else { return nil }
            state.made += 1
            return allocatePages(bufferSize)
        }
        return bytes.map { BufferLease(bytes: $0, pool: self) }
    }

    /// A buffer, as soon as there is one, in order of asking.
    ///
    /// - Throws: `CancellationError` when the task is cancelled while it waits.
    package func leaseWhenFree() async throws(CancellationError) -> BufferLease {
        let key = state.withLock { state in
            state.lastKey += 1
            return state.lastKey
        }
        let lease: BufferLease? = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let lease = leaseOrEnqueue(key, continuation) { continuation.resume(returning: lease) }
            }
        } onCancel: {
            removeWaiting(key)?.resume(returning: nil)
        }
        guard let lease else { throw CancellationError() }
        return lease
    }

    private func leaseOrEnqueue(_ key: Int, _ continuation: CheckedContinuation<BufferLease?, Never>) -> BufferLease? {
        if Task.isCancelled {
            continuation.resume(returning: nil)
            return nil
        }
        let bytes = state.withLock { state -> UnsafeMutableRawBufferPointer? in
            if state.waiting.isEmpty {
                if let reused = state.free.popLast() { return reused }
                if state.made < capacity {
                    state.made += 1
                    return allocatePages(bufferSize)
                }
            }
            state.waiting.append((key, continuation))
            return nil
        }
        if bytes == nil, Task.isCancelled {
            // Cancelled between the first look and the enqueuing: the handler may have run too early to find it.
            removeWaiting(key)?.resume(returning: nil)
        }
        return bytes.map { BufferLease(bytes: $0, pool: self) }
    }

    private func removeWaiting(_ key: Int) -> CheckedContinuation<BufferLease?, Never>? {
        state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0.key == key }) else { return nil }
            return state.waiting.remove(at: index).continuation
        }
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
        let waiter = state.withLock { state -> CheckedContinuation<BufferLease?, Never>? in
            if state.waiting.isEmpty {
                state.free.append(bytes)
                return nil
            }
            return state.waiting.removeFirst().continuation
        }
        waiter?.resume(returning: BufferLease(bytes: bytes, pool: self))
    }

    deinit { trim() }
}

// mmap and not malloc: freed memory really goes back, and page alignment is what O_DIRECT wants.
private func allocatePages(_ size: Int) -> UnsafeMutableRawBufferPointer {
    let rounded = wholePages(size)
    // Buffers that consist of huge pages begin at one: fewer faults, and fewer misses of the TLB for every byte that is
    // received, hashed and sent. Smaller ones do not ask for any, so that a bound on memory stays one.
    let alignment = rounded % hugePage == 0 ? hugePage : 0
    let memory = mmap(nil, rounded + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else {
        fatalError("out of memory: mmap of \(rounded) bytes failed: \(Errno.current)")
    }
    guard alignment > 0 else { return UnsafeMutableRawBufferPointer(start: memory, count: size) }
    let start = memory.alignedUp(toMultipleOf: alignment)
    let before = start - memory
    if before > 0 { munmap(memory, before) }
    if before < alignment { munmap(start + rounded, alignment - before) }
    // A wish: where the kernel has no such pages, nothing happens.
    madvise(start, rounded, 14)  // MADV_HUGEPAGE (asm-generic/mman-common.h), which Swift's Glibc module lacks
    return UnsafeMutableRawBufferPointer(start: start, count: size)
}

private func releasePages(_ bytes: UnsafeMutableRawBufferPointer) {
    munmap(bytes.baseAddress, wholePages(bytes.count))
}

private let hugePage = 2 << 20

private func wholePages(_ size: Int) -> Int {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    return max(page, (size + page - 1) / page * page)
}
