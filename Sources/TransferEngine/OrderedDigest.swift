package import Checksums
package import LinuxPlatform
package import ObjectStorage

// SHA-256 has no random access: it takes a file's bytes in order. Units arrive in any order; each waits, with its
// buffer, until those before it are hashed. Memory bounds how many wait, and units take their buffers in file order, so
// the one that all others wait for always has one: nobody waits in a circle.

/// The state of a file's hashes after some of its bytes, to go on from in another process.
package struct DigestMark: Hashable, Sendable {
    /// Bytes hashed so far.
    package var offset: Int
    /// Of those bytes.
    package var crc32c: CRC32C
    package var sha256State: [UInt8]
    /// Nil for a file that needs no git hash.
    package var gitState: [UInt8]?

    package init(offset: Int, crc32c: CRC32C, sha256State: [UInt8], gitState: [UInt8]?) {
        self.offset = offset
        self.crc32c = crc32c
        self.sha256State = sha256State
        self.gitState = gitState
    }
}

/// What all bytes of a file gave.
package struct FileDigests: Hashable, Sendable {
    package var sha256: SHA256Digest
    package var gitOID: SHA1Digest?
    package var crc32c: CRC32C

    package init(sha256: SHA256Digest, gitOID: SHA1Digest?, crc32c: CRC32C) {
        self.sha256 = sha256
        self.gitOID = gitOID
        self.crc32c = crc32c
    }
}

/// Hashes the units of one file in file order, on threads of its own.
package final class OrderedDigest: Sendable {
    private struct Unit: Sendable {
        var range: ByteRange
        var buffer: BufferLease
        var crc32c: CRC32C
        /// Resumed with a mark when one is due, nil when not, or when the file was given up.
        var continuation: CheckedContinuation<DigestMark?, Never>
    }

    private struct State {
        var queue: OrderedQueue<Unit>
        var isAbandoned = false
    }

    private let state: Lock<State>
    private let hashers: Hashers
    private let workers: WorkerPool
    private let markInterval: Int

    /// - Parameters:
    ///   - size: of the file in bytes.
    ///   - wantsGitOID: the git blob hash is computed too.
    ///   - resumed: goes on from here. Nil, or a mark that cannot be read, starts at 0; see `start`.
    ///   - markInterval: bytes between two marks.
    package init(
        size: Int,
        wantsGitOID: Bool,
        resumed: DigestMark?,
        markInterval: Int,
        workers: WorkerPool
    ) {
        hashers = Hashers(size: size, wantsGitOID: wantsGitOID, resumed: resumed)
        state = Lock(State(queue: OrderedQueue(from: hashers.offset)))
        start = hashers.offset
        self.workers = workers
        self.markInterval = markInterval
    }

    /// The first byte that has to be brought.
    package let start: Int

    /// Hashes a unit when its turn comes, and returns when that is done: then its buffer is not needed here any more.
    ///
    /// - Returns: the state after it, when one is due.
    package func absorb(_ range: ByteRange, _ buffer: BufferLease, crc32c: CRC32C) async -> DigestMark? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let unit = Unit(range: range, buffer: buffer, crc32c: crc32c, continuation: continuation)
                let turn = state.withLock { state -> Bool? in
                    if state.isAbandoned { return nil }
                    return state.queue.insert(offset: range.offset, count: range.count, unit)
                }
                guard let turn else {
                    continuation.resume(returning: nil)
                    return
                }
                if turn { workers.submit { self.hashWhatIsReady() } }
            }
        } onCancel: {
            abandon()
        }
    }

    /// Lets go of everything that waits; later units are not hashed.
    package func abandon() {
        let waiting = state.withLock { state in
            state.isAbandoned = true
            return state.queue.drain()
        }
        for unit in waiting { unit.continuation.resume(returning: nil) }
    }

    /// The hashes, after the last unit was absorbed. Once.
    package func finish() -> FileDigests { hashers.finish() }

    /// Runs on one worker at a time: `OrderedQueue` gives the turn to one caller only.
    private func hashWhatIsReady() {
        while let (_, unit) = state.withLock({ $0.queue.next() }) {
            hashers.update(UnsafeRawBufferPointer(rebasing: unit.buffer.bytes[..<unit.range.count]), unit.crc32c)
            let isDue = unit.range.end / markInterval > unit.range.offset / markInterval
            unit.continuation.resume(returning: isDue ? hashers.mark() : nil)
        }
    }
}

/// The hash contexts of one file.
private final class Hashers: @unchecked Sendable {  // used by the one worker whose turn it is, and by `finish` after it
    private(set) var offset = 0
    private var crc32c = CRC32C.empty
    private var sha256: SHA256Hasher
    private var git: GitBlobHasher?

    init(size: Int, wantsGitOID: Bool, resumed: DigestMark?) {
        if let resumed, let restored = SHA256Hasher(savedState: resumed.sha256State) {
            let git = resumed.gitState.flatMap { GitBlobHasher(savedState: $0) }
            if (git != nil) == wantsGitOID, restored.length == resumed.offset {
                sha256 = restored
                self.git = git
                offset = resumed.offset
                crc32c = resumed.crc32c
                return
            }
        }
        sha256 = SHA256Hasher()
        git = wantsGitOID ? GitBlobHasher(size: size) : nil
    }

    func update(_ bytes: UnsafeRawBufferPointer, _ crc: CRC32C) {
        sha256.update(bytes)
        git?.update(bytes)
        crc32c = crc32c.combine(with: crc, count: bytes.count)
        offset += bytes.count
    }

    func mark() -> DigestMark {
        DigestMark(offset: offset, crc32c: crc32c, sha256State: sha256.savedState(), gitState: git?.savedState())
    }

    func finish() -> FileDigests {
        FileDigests(sha256: sha256.finalize(), gitOID: git?.finalize(), crc32c: crc32c)
    }
}
