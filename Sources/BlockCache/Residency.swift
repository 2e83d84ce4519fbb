import Glibc
import LinuxPlatform
import ObjectStorage

/// Why a content is not where it was wanted.
package enum ResidencyFailure: Error, Hashable, Sendable {
    case read(ReadFailure)
    /// Without a CRC table, and too large to be proven as one: the disk cache does not take it.
    case unprovable
    /// There is no room, on the disk or in memory.
    case noRoom
    /// The disk cannot be written, or gives other bytes back.
    case diskFailed
    case cancelled
}

/// How much of a content is on the disk.
package struct DiskResidency: Hashable, Sendable {
    /// That the table says are there, in bytes.
    package var bytes: Int
    /// All is there, and this process has read it back and proven it.
    package var isProven: Bool
    package var isPinned: Bool

    package init(bytes: Int, isProven: Bool, isPinned: Bool) {
        self.bytes = bytes
        self.isProven = isProven
        self.isPinned = isPinned
    }
}

extension BlockCache {
    /// Requests of one content that are on their way at once, at most.
    private static let lanes = 4
    /// What was lost or dropped on the way to the disk is tried again so often.
    private static let attempts = 4

    /// Brings all of a content to where it stays: to the disk, whole and proven, or into memory where there is no disk.
    ///
    /// Readers come first. On the disk it counts as read again from now on, and this process does not evict it meanwhile.
    /// In memory it stays until readers need the room. Ends early, with `cancelled`, when the task is cancelled.
    ///
    /// - Parameters:
    ///   - usesDisk: it must be on the disk.
    ///   - progress: called with the bytes that are there, now and then.
    package func makeResident(
        _ content: CachedContent,
        usesDisk: Bool,
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws(ResidencyFailure) {
        if content.size == 0 { return }
        guard usesDisk else { return try await bringIntoMemory(content, progress) }
        guard let disk = content.disk else { throw .unprovable }
        disk.hold()
        defer { disk.letGo() }
        for attempt in 1...Self.attempts {
            await disk.opened()
            guard disk.files != nil else { throw .diskFailed }
            disk.protect()
            progress(disk.presentBytes)
            try await fillAll(content, FillCursor { disk.missing(from: $0, limit: $1) }) { progress(disk.presentBytes) }
            if await disk.isWholeAndProven() {
                progress(content.size)
                return
            }
            if Task.isCancelled { throw .cancelled }
            if attempt == Self.attempts { throw disk.isShortOfRoom ? .noRoom : .diskFailed }
        }
    }

    private func bringIntoMemory(
        _ content: CachedContent,
        _ progress: @escaping @Sendable (Int) -> Void
    ) async throws(ResidencyFailure) {
        let count = BlockGeometry.blocks(of: .init(offset: 0, count: content.size)).count
        let cursor = FillCursor { start, limit in start < count ? start..<min(count, start + limit) : nil }
        try await fillAll(content, cursor) { [self] in progress(min(content.size, residentBytes[content.id] ?? 0)) }
        // A content's last granule counts in full.
        if residentBytes[content.id] ?? 0 < content.size { throw .noRoom }
        progress(content.size)
    }

    private func fillAll(
        _ content: CachedContent,
        _ cursor: FillCursor,
        _ progress: @escaping @Sendable () -> Void
    ) async throws(ResidencyFailure) {
        let limit = maximumFill
        let failure = await withTaskGroup(of: ReadFailure?.self) { group in
            for _ in 0..<Self.lanes {
                group.addTask {
                    while !Task.isCancelled, let blocks = cursor.next(limit) {
                        if let failure = await self.filled(content, blocks) { return failure }
                        progress()
                    }
                    return nil
                }
            }
            var first: ReadFailure?
            for await failure in group {
                guard first == nil, let failure else { continue }
                first = failure
                group.cancelAll()
            }
            return first
        }
        if Task.isCancelled { throw .cancelled }
        if let failure { throw .read(failure) }
    }

    private func filled(_ content: CachedContent, _ blocks: Range<Int>) async -> ReadFailure? {
        let id = newReadID()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                fill(id, content, blocks) { continuation.resume(returning: $0) }
                // A cancellation before the line above found nothing to cancel.
                if Task.isCancelled { cancel(id) }
            }
        } onCancel: {
            cancel(id)
        }
    }
}

/// Which blocks of a content are to be fetched next.
private final class FillCursor: Sendable {
    private let find: @Sendable (Int, Int) -> Range<Int>?
    private let position = Lock(0)

    /// - Parameter find: the first blocks at or behind a block that are to be fetched, at most so many; nil: there are none.
    init(_ find: @escaping @Sendable (Int, Int) -> Range<Int>?) { self.find = find }

    /// Each block once.
    func next(_ limit: Int) -> Range<Int>? {
        position.withLock { position in
            guard let blocks = find(position, limit) else { return nil }
            position = blocks.upperBound
            return blocks
        }
    }
}
