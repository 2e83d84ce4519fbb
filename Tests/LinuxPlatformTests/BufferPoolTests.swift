import LinuxPlatform
import Testing

struct BufferPoolTests {
    @Test func leasesAreBoundedAndReused() throws {
        let pool = BufferPool(bufferSize: 8192, capacity: 2)
        var first = pool.lease()
        let second = try #require(pool.lease())
        #expect(pool.lease() == nil)
        let address = first?.bytes.baseAddress
        first = nil
        let third = try #require(pool.lease())
        #expect(third.bytes.baseAddress == address)
        #expect(pool.leased == 2)
        _ = second
    }

    @Test func waitersAreServedInOrder() async throws {
        let pool = BufferPool(bufferSize: 4096, capacity: 1)
        var held: BufferLease? = try await pool.leaseWhenFree()
        let order = Lock([Int]())
        let tasks = (0..<8).map { index in
            let task = Task {
                let lease = try await pool.leaseWhenFree()
                order.withLock { $0.append(index) }
                _ = lease
            }
            return task
        }
        held = nil
        for task in tasks { try await task.value }
        #expect(order.withLock { $0.sorted() } == Array(0..<8))
        #expect(held == nil)
        #expect(pool.leased == 0)
    }

    @Test func aCancelledWaiterLeavesTheQueue() async throws {
        let pool = BufferPool(bufferSize: 4096, capacity: 1)
        let held = try #require(pool.lease())
        let waiter = Task { try await pool.leaseWhenFree() }
        waiter.cancel()
        await #expect(throws: CancellationError.self) { try await waiter.value }
        _ = held
    }

    @Test func trimGivesUnusedMemoryBack() throws {
        let pool = BufferPool(bufferSize: 4096, capacity: 3)
        do { _ = [pool.lease(), pool.lease()] }
        #expect(pool.leased == 0)
        pool.trim()
        #expect(pool.leased == 0)
        #expect(pool.lease() != nil)
    }
}

/// Buffers of whole huge pages begin at one, and all of each is there to be written.
@Test func largeBuffersBeginAtHugePages() throws {
    let size = 4 << 20
    let pool = BufferPool(bufferSize: size, capacity: 3)
    let leases = try (0..<3).map { _ in try #require(pool.lease()) }
    for (index, lease) in leases.enumerated() {
        #expect(UInt(bitPattern: lease.bytes.baseAddress) % (2 << 20) == 0)
        lease.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index))
    }
    for (index, lease) in leases.enumerated() {
        #expect(lease.bytes.first == UInt8(index) && lease.bytes.last == UInt8(index) && lease.count == size)
    }
}
