import LinuxPlatform
import ObjectStorage
import Synchronization

/// One generation of an object of a `MemoryBucket`. Reads complete on threads of their own, as those of a network do.
final class MemorySource: RangedSource {
    /// Shared by all tests and never closed. A machine that cannot start four threads runs no tests.
    private static let readers: WorkerPool = {
        guard let pool = try? WorkerPool(name: "memory-read", count: 4) else { fatalError("cannot start threads") }
        return pool
    }()

    private let store: MemoryObjectStore
    private let attributes: ObjectAttributes

    init(store: MemoryObjectStore, attributes: ObjectAttributes) {
        self.store = store
        self.attributes = attributes
    }

    var size: Int { attributes.size }
    var label: String { "\(store.label)/\(attributes.name)#\(attributes.generation)" }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        let flag = CancellationFlag()
        Self.readers.submit { [self] in
            completion(
                Result { () throws(ObjectStoreError) in
                    if flag.isSet { throw ObjectStoreError(.cancelled, "a read of \(label) was cancelled") }
                    try perform(read)
                }
            )
        }
        return ReadCancellation { flag.set() }
    }

    private func perform(_ read: RangeRead) throws(ObjectStoreError) {
        if read.range.count == 0 { return }
        let (name, generation) = (attributes.name, attributes.generation)
        if store.bucket.time.now() >= read.deadline {
            throw ObjectStoreError(.deadlineExceeded, "the deadline of a read of \(label) passed")
        }
        let bytes = try store.perform(.read, name.value) { (state, _, _) throws(ObjectStoreError) in
            let object = try state.stored(name, generation)
            guard read.range.end <= object.bytes.count else {
                throw ObjectStoreError(
                    .outOfRange,
                    "'\(name)' has \(object.bytes.count) bytes, none at \(read.range)",
                    status: 416
                )
            }
            return object.bytes[read.range.offset..<read.range.end]
        }
        let target = UnsafeMutableRawBufferPointer(
            rebasing: read.buffer.bytes[read.bufferOffset..<(read.bufferOffset + read.range.count)]
        )
        target.copyBytes(from: bytes)
        store.bucket.deliver(name, read.range, target)
        guard let tap = read.tap else { return }
        // Pieces of odd length: a tap must not count on alignment.
        var offset = 0
        while offset < target.count {
            let end = min(target.count, offset + 16_001)
            tap(offset, UnsafeRawBufferPointer(rebasing: target[offset..<end]))
            offset = end
        }
    }
}

private final class CancellationFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}
