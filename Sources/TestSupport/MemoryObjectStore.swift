import Checksums
package import LinuxPlatform
package import ObjectStorage

/// A connection to a `MemoryBucket`: an `ObjectStore` for tests, complete and exact, whose every operation passes a
/// fault hook before and after. It does not retry: a fault is what the caller sees.
package final class MemoryObjectStore: ObjectStore {
    /// What every operation of a connection throws from the moment its process "died".
    package static let killed = ObjectStoreError(.internal, "the test killed this process")

    private struct Connection {
        var hook: StoreFaultHook?
        var nextIndex = 0
        var isKilled = false
        var calls: [StoreCall] = []
    }

    /// What the operations work on. Several connections may share it.
    package let bucket: MemoryBucket
    private let connection: Lock<Connection>

    package init(_ bucket: MemoryBucket = MemoryBucket(), hook: StoreFaultHook? = nil) {
        self.bucket = bucket
        connection = Lock(Connection(hook: hook))
    }

    /// Replaces the hook.
    package func setHook(_ hook: StoreFaultHook?) { connection.withLock { $0.hook = hook } }

    /// Whether a `kill` fault struck.
    package var isKilled: Bool { connection.withLock { $0.isKilled } }

    /// Every operation so far, in order of starting; `moment` is `before`.
    package var calls: [StoreCall] { connection.withLock { $0.calls } }

    package var label: String { "memory://bucket" }

    /// Passes the hook, does it, passes the hook again.
    ///
    /// - Parameter body: gets how many bytes of an upload may be kept, if a fault limits it.
    func perform<Value>(
        _ operation: StoreOperation,
        _ object: String,
        _ body: (inout MemoryBucketState, UnixTime, Int?) throws(ObjectStoreError) -> Value
    ) throws(ObjectStoreError) -> Value {
        let call = try begin(operation, object)
        var losesReply = false
        var keptBytes: Int?
        switch fault(call) {
        case .fail(let error): throw error
        case .kill: throw kill()
        case .loseReply: losesReply = true
        case .keepOnly(let count): keptBytes = count
        case nil: break
        }
        let now = bucket.time.timeOfDay()
        let result = bucket.state.withLock { state in
            Result { () throws(ObjectStoreError) in try body(&state, now, keptBytes) }
        }
        switch fault(StoreCall(operation: operation, object: object, moment: .after, index: call.index)) {
        case .fail(let error): throw error
        case .kill: throw kill()
        case .loseReply: losesReply = true
        case .keepOnly, nil: break
        }
        if losesReply {
            throw ObjectStoreError(.unavailable, "the reply to \(operation) of '\(object)' was lost", status: 503)
        }
        return try result.get()
    }

    private func begin(_ operation: StoreOperation, _ object: String) throws(ObjectStoreError) -> StoreCall {
        if Task.isCancelled { throw ObjectStoreError(.cancelled, "\(operation) of '\(object)' was cancelled") }
        let call = connection.withLock { connection -> StoreCall? in
            if connection.isKilled { return nil }
            let index = connection.nextIndex
            connection.nextIndex += 1
            let call = StoreCall(operation: operation, object: object, moment: .before, index: index)
            connection.calls.append(call)
            return call
        }
        guard let call else { throw Self.killed }
        return call
    }

    private func fault(_ call: StoreCall) -> StoreFault? {
        let hook = connection.withLock { $0.hook }
        return hook?(call)
    }

    private func kill() -> ObjectStoreError {
        connection.withLock { $0.isKilled = true }
        return Self.killed
    }
}

extension MemoryObjectStore {
    package func serverTime() async throws(ObjectStoreError) -> UnixTime {
        try perform(.serverTime, "") { _, now, _ in now }
    }

    package func layout() async throws(ObjectStoreError) -> StorageLayout {
        let options = bucket.options
        return try perform(.layout, "") { _, _, _ in
            StorageLayout(
                isHierarchical: options.isHierarchical,
                locationType: options.locationType,
                location: "memory",
                softDeleteRetentionSeconds: options.softDeleteRetentionSeconds,
                retentionSeconds: options.retentionSeconds,
                defaultStorageClass: "STANDARD"
            )
        }
    }

    package func attributes(
        _ name: ObjectName,
        generation: Generation?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try perform(.attributes, name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.stored(name, generation).attributes
        }
    }

    package func source(_ attributes: ObjectAttributes) -> any RangedSource {
        MemorySource(store: self, attributes: attributes)
    }

    package func contents(
        _ name: ObjectName,
        generation: Generation?,
        limit: Int
    ) async throws(ObjectStoreError) -> (attributes: ObjectAttributes, bytes: [UInt8]) {
        let object = try perform(.contents, name.value) { (state, _, _) throws(ObjectStoreError) in
            try state.stored(name, generation)
        }
        guard object.bytes.count <= limit else {
            throw ObjectStoreError(.integrity, "'\(name)' has \(object.bytes.count) bytes, more than \(limit)")
        }
        var bytes = object.bytes
        bytes.withUnsafeMutableBytes { bucket.deliver(name, ByteRange(offset: 0, count: $0.count), $0) }
        guard CRC32C.of(bytes) == object.attributes.crc32c else {
            throw ObjectStoreError(.integrity, "'\(name)' arrived with another CRC32C than it has")
        }
        return (object.attributes, bytes)
    }

    package func list(_ request: ListRequest) async throws(ObjectStoreError) -> ListPage {
        try perform(.list, request.prefix) { (state, _, _) throws(ObjectStoreError) in try state.list(request) }
    }

    package func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let bytes = body.copied()
        return try perform(.put, name.value) { (state, now, _) throws(ObjectStoreError) in
            try state.write(name, bytes, options, at: now)
        }
    }

    package func compose(
        _ sources: [ComposeSource],
        into name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try perform(.compose, name.value) { (state, now, _) throws(ObjectStoreError) in
            try state.compose(sources, into: name, options, at: now)
        }
    }

    package func copy(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        metadata: [String: String]?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try perform(.copy, name.value) { (state, now, _) throws(ObjectStoreError) in
            try state.copy(source, generation, to: name, precondition: precondition, metadata: metadata, at: now)
        }
    }

    package func move(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let canMove = bucket.options.canMove
        return try perform(.move, name.value) { (state, now, _) throws(ObjectStoreError) in
            if !canMove { throw ObjectStoreError(.unsupported, "this bucket cannot move objects", status: 501) }
            return try state.move(source, generation, to: name, precondition: precondition, at: now)
        }
    }

    package func delete(_ name: ObjectName, _ generation: Generation) async throws(ObjectStoreError) {
        try perform(.delete, name.value) { state, _, _ in state.delete(name, generation) }
    }

    package func patch(
        _ name: ObjectName,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?]
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        try perform(.patch, name.value) { (state, now, _) throws(ObjectStoreError) in
            try state.patch(name, generation, metageneration: metageneration, metadata: metadata, at: now)
        }
    }
}
