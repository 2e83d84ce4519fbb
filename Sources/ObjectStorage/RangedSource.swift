package import LinuxPlatform

/// Sees the bytes of a read in order, in pieces, while they are in cache.
///
/// Called on the source's thread; must not block. After a retry inside the source it goes on where it was: each byte of
/// the range is seen exactly once.
package typealias ByteTap = @Sendable (_ offsetInRange: Int, _ bytes: UnsafeRawBufferPointer) -> Void

/// What a read does that its bytes do not tell.
package enum ReadEvent: Hashable, Sendable {
    /// A request went out on a connection: what comes next is up to the other side.
    case sent
    /// Bytes lay there before they were taken, most of the time: this machine is slower than the connection.
    case behind
    /// The source waits before it tries again; `isThrottled`: because it was asked to slow down.
    case paused(isThrottled: Bool)
}

/// One read of a range into memory that the caller owns.
package struct RangeRead: Sendable {
    package let range: ByteRange
    /// Where the bytes go: `range.count` bytes from `bufferOffset` on.
    package let buffer: BufferLease
    package let bufferOffset: Int
    /// When the caller stops being interested; then the read fails with `deadlineExceeded`.
    package let deadline: MonotonicInstant
    package let tap: ByteTap?
    /// Hears what the read does, from a source that can tell; on any thread, with no lock held; must not block.
    package let observer: (@Sendable (ReadEvent) -> Void)?

    package init(
        _ range: ByteRange,
        into buffer: BufferLease,
        at bufferOffset: Int = 0,
        deadline: MonotonicInstant = .distantFuture,
        tap: ByteTap? = nil,
        observer: (@Sendable (ReadEvent) -> Void)? = nil
    ) {
        precondition(bufferOffset >= 0 && bufferOffset + range.count <= buffer.count)
        self.range = range
        self.buffer = buffer
        self.bufferOffset = bufferOffset
        self.deadline = deadline
        self.tap = tap
        self.observer = observer
    }
}

/// Stops a read that is under way; its completion still comes, exactly once.
package struct ReadCancellation: Sendable {
    package let cancel: @Sendable () -> Void
    package init(_ cancel: @escaping @Sendable () -> Void) { self.cancel = cancel }
}

/// One fixed content of which any range can be read: a generation of an object, or a file of a Hub commit.
package protocol RangedSource: AnyObject, Sendable {
    /// In bytes.
    var size: Int { get }
    /// What it is, for people: the object and its generation. Free of secrets.
    var label: String { get }

    /// Starts a read. The completion is called exactly once, on the source's thread, also after cancel; on success all
    /// bytes of the range are in the buffer. An empty range succeeds without a request. The source retries what is
    /// transient, from the byte where it stopped, until the deadline.
    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation
}

extension RangedSource {
    /// Reads and waits. Cancelling the task cancels the read; the buffer is free when this returns.
    package func read(_ read: RangeRead) async throws(ObjectStoreError) {
        try await completion { done in self.read(read, completion: done).cancel }.get()
    }
}
