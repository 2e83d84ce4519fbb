import Glibc
import LinuxPlatform
import ObjectStorage
import Synchronization

/// One generation of an object. Each read opens the file and makes sure, before and after, that it is still that one.
final class LocalSource: RangedSource {
    private let store: StoreDirectory
    private let pool: WorkerPool
    private let attributes: ObjectAttributes
    /// Found by the first read.
    private let identity = Lock<FileIdentity?>(nil)

    init(store: StoreDirectory, pool: WorkerPool, attributes: ObjectAttributes) {
        self.store = store
        self.pool = pool
        self.attributes = attributes
    }

    var size: Int { attributes.size }
    var label: String { "file://\(store.path)/\(attributes.name)#\(attributes.generation)" }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        let isCancelled = CancellationFlag()
        pool.submit { [self] in
            completion(Result { () throws(ObjectStoreError) in try perform(read, isCancelled) })
        }
        return ReadCancellation { isCancelled.set() }
    }

    private func perform(_ read: RangeRead, _ isCancelled: CancellationFlag) throws(ObjectStoreError) {
        if read.range.count == 0 { return }
        let path = try LocalPath(attributes.name)
        let identity = try pinnedIdentity(path)
        guard let file = try store.open(path) else { throw missing(attributes.name, attributes.generation) }
        try require(identity, file)
        guard read.range.end <= identity.size else {
            throw ObjectStoreError(.outOfRange, "\(label) has \(identity.size) bytes, not \(read.range)")
        }
        // In pieces that fit the processor's cache, so that the tap finds them there.
        let pieceSize = 256 * 1024
        var done = 0
        while done < read.range.count {
            if isCancelled.isSet { throw ObjectStoreError(.cancelled, "a read of \(label) was cancelled") }
            if store.time.now() >= read.deadline {
                throw ObjectStoreError(.deadlineExceeded, "the deadline of a read of \(label) passed")
            }
            let start = read.bufferOffset + done
            let end = start + min(pieceSize, read.range.count - done)
            let piece = UnsafeMutableRawBufferPointer(rebasing: read.buffer.bytes[start..<end])
            let count = try onDisk("read", attributes.name.value) { () throws(Errno) in
                try file.read(into: piece, at: read.range.offset + done)
            }
            try require(identity, file)
            guard count == piece.count else {
                throw ObjectStoreError(.integrity, "\(label) ended early, at \(read.range.offset + done + count)")
            }
            read.tap?(done, UnsafeRawBufferPointer(piece))
            done += count
        }
    }

    private func pinnedIdentity(_ path: LocalPath) throws(ObjectStoreError) -> FileIdentity {
        if let known = identity.withLock({ $0 }) { return known }
        guard let found = try store.find(path), found.attributes.generation == attributes.generation else {
            throw missing(attributes.name, attributes.generation)
        }
        identity.withLock { $0 = found.identity }
        return found.identity
    }

    /// A file that was written to in place since is another generation, too.
    private func require(_ identity: FileIdentity, _ file: borrowing FileDescriptor) throws(ObjectStoreError) {
        let status = try onDisk("read", attributes.name.value) { () throws(Errno) in try file.status() }
        if FileIdentity(status) != identity { throw missing(attributes.name, attributes.generation) }
    }
}

private final class CancellationFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}
