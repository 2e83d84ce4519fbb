import LinuxPlatform
import ObjectStorage

/// A content whose blocks come from the disk where they are there and right, and from its store where not.
///
/// What it delivers from the disk it has compared with the content's checksums; the cache in memory does so again.
final class DiskSource: RangedSource {
    private let origin: any RangedSource
    private let content: DiskContent
    private let disk: DiskCache

    init(_ origin: any RangedSource, _ content: DiskContent, _ disk: DiskCache) {
        self.origin = origin
        self.content = content
        self.disk = disk
    }

    var size: Int { origin.size }
    var label: String { origin.label }

    @discardableResult
    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        let work = DiskRead(read, origin: origin, content: content, disk: disk, completion)
        content.whenOpen { work.advance() }
        return ReadCancellation { work.cancellation.cancel() }
    }
}

/// One read on its way: runs of blocks one after the other, each from where it is.
///
/// One step at a time, each begun by the end of the one before; a disk that comes too late is kept out by `DiskTurn`.
private final class DiskRead: @unchecked Sendable {  // only whose step it is touches the fields
    let cancellation = LateCancellation()
    private let read: RangeRead
    private let origin: any RangedSource
    private let content: DiskContent
    private let disk: DiskCache
    private let completion: @Sendable (Result<Void, ObjectStoreError>) -> Void
    /// Bytes of the range that are delivered.
    private var done = 0
    private var waitingSince: MonotonicInstant?
    private var mayWait = true

    init(
        _ read: RangeRead,
        origin: any RangedSource,
        content: DiskContent,
        disk: DiskCache,
        _ completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) {
        self.read = read
        self.origin = origin
        self.content = content
        self.disk = disk
        self.completion = completion
    }

    func advance() {
        let rest = ByteRange(offset: read.range.offset + done, count: read.range.count - done)
        if rest.count == 0 { return completion(.success(())) }
        switch content.step(rest, mayWait: mayWait) {
        case .disk(let range): readDisk(range)
        case .network(let range): fetch(range)
        case .wait: wait()
        }
    }

    /// Reads on a thread of the disk, and goes on without it when it does not answer in time.
    private func readDisk(_ range: ByteRange) {
        let turn = Lock(DiskTurn())
        let alarm = Task { [self] in
            guard (try? await disk.time.sleep(for: disk.options.readPatience)) != nil else { return }
            if turn.withLock({ $0.patienceEnded() }) { leaveDisk() }
        }
        disk.readers.submit { [self] in
            bring(range, turn)
            alarm.cancel()
        }
    }

    private func bring(_ range: ByteRange, _ turn: Lock<DiskTurn>) {
        let own = BufferLease(size: min(BlockGeometry.blockSize, range.count))
        for block in BlockGeometry.blocks(of: range) {
            let start = max(block * BlockGeometry.blockSize, range.offset)
            let piece = ByteRange(
                offset: start,
                count: min((block + 1) * BlockGeometry.blockSize, range.end) - start
            )
            let bytes = UnsafeMutableRawBufferPointer(rebasing: own.bytes[..<piece.count])
            guard content.read(piece, into: bytes) else { break }
            guard turn.withLock({ $0.pieceRead() }) else { return }
            let from = read.bufferOffset + done
            let memory = UnsafeMutableRawBufferPointer(rebasing: read.buffer.bytes[from..<from + piece.count])
            memory.copyMemory(from: UnsafeRawBufferPointer(bytes))
            read.tap?(done, UnsafeRawBufferPointer(memory))
            done += piece.count
            if turn.withLock({ $0.pieceCopied() }) { return leaveDisk() }
        }
        if turn.withLock({ $0.ended() }) { advance() }
    }

    private func leaveDisk() {
        disk.failed(.timedOut, "reading a file of the cache")
        advance()
    }

    private func fetch(_ range: ByteRange) {
        let before = done
        let tap = read.tap
        let part = RangeRead(
            range,
            into: read.buffer,
            at: read.bufferOffset + before,
            deadline: read.deadline,
            tap: { offset, bytes in tap?(before + offset, bytes) },
            observer: read.observer
        )
        let started = origin.read(part) { [self] result in
            guard case .success = result else { return completion(result) }
            disk.metrics.networkRead(bytes: range.count)
            done = before + range.count
            advance()
        }
        cancellation.started(started.cancel)
    }

    private func wait() {
        let now = disk.time.now()
        let since = waitingSince ?? now
        waitingSince = since
        if since.duration(to: now) >= content.claimPatience || now >= read.deadline {
            mayWait = false
            content.losePatience()
            return advance()
        }
        disk.waiters.add { [self] in advance() }
    }
}
