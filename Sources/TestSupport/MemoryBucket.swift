package import LinuxPlatform
package import ObjectStorage

/// A bucket in memory that follows the rules of Cloud Storage exactly. It outlives the connections to it, as a bucket
/// outlives the processes that use it: kill one with a fault, open another, and look what is there.
package final class MemoryBucket: Sendable {
    /// What kind of bucket it is.
    package struct Options: Sendable {
        /// Folders are things of their own.
        package var isHierarchical = false
        /// `move` works; where it does not, it throws `unsupported`.
        package var canMove = true
        /// Every page of a listing is preceded by an empty one, as Cloud Storage may do.
        package var hasEmptyPages = false
        /// What a piece of a resumable upload must be a multiple of, in bytes.
        package var uploadGranularity = 256 * 1024
        /// What each part of a multipart upload but the last must have, in bytes.
        package var minimumPartSize = 5 * 1024 * 1024
        package var softDeleteRetentionSeconds: Int? = 0
        package var retentionSeconds: Int?
        package var locationType = "region"

        package init() {}
    }

    /// Changes the bytes of a read on their way to the reader; the stored ones stay.
    package typealias ReadHook = @Sendable (ObjectName, ByteRange, UnsafeMutableRawBufferPointer) -> Void

    package let options: Options
    package let time: any TimeSource
    let state: Lock<MemoryBucketState>
    private let readHook = Lock<ReadHook?>(nil)

    package init(_ options: Options = Options(), time: any TimeSource = SystemTime()) {
        self.options = options
        self.time = time
        state = Lock(MemoryBucketState(options: options))
    }

    /// Every object, in byte order of names.
    package var objects: [ObjectAttributes] {
        state.withLock { state in
            state.objects.values.map(\.attributes).sorted { $0.name < $1.name }
        }
    }

    /// The names of every object, in byte order.
    package var names: [String] { objects.map(\.name.value) }

    /// The stored bytes, or nil when there is no such object.
    package func bytes(_ name: String) -> [UInt8]? {
        guard let name = try? ObjectName(name) else { return nil }
        return state.withLock { $0.objects[name]?.bytes }
    }

    /// Folders there are, in a hierarchical bucket.
    package var folders: [String] { state.withLock { $0.folders.sorted() } }

    /// Multipart uploads that were neither completed nor aborted, and sessions that were neither finished nor cancelled.
    package var unfinishedUploads: (sessions: Int, multiparts: Int) {
        state.withLock { state in
            (state.sessions.values.count { $0.finished == nil }, state.multiparts.count)
        }
    }

    /// Bytes that resumable uploads brought, in all; and how many of them the session had already.
    package var uploadedBytes: (received: Int, repeated: Int) {
        state.withLock { ($0.receivedBytes, $0.repeatedBytes) }
    }

    /// Makes an object behind everybody's back, as a stranger's tool does.
    @discardableResult
    package func plant(
        _ name: String,
        _ bytes: [UInt8],
        metadata: [String: String] = [:]
    ) throws(ObjectStoreError) -> ObjectAttributes {
        let name = try ObjectName(name)
        let now = time.timeOfDay()
        return try state.withLock { (state) throws(ObjectStoreError) in
            try state.write(name, bytes, WriteOptions(.any, metadata: metadata), at: now)
        }
    }

    /// Removes an object behind everybody's back.
    package func remove(_ name: String) {
        guard let name = try? ObjectName(name) else { return }
        state.withLock { $0.objects[name] = nil }
    }

    /// Flips one bit of the stored bytes. Generation and CRC32C stay: what rot looks like.
    ///
    /// - Returns: false when there is no such bit.
    @discardableResult
    package func flipBit(_ name: String, at bit: Int) -> Bool {
        guard let name = try? ObjectName(name) else { return false }
        return state.withLock { state in
            guard bit >= 0, var object = state.objects[name], bit / 8 < object.bytes.count else { return false }
            object.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            state.objects[name] = object
            return true
        }
    }

    /// Forgets every resumable session and multipart upload, as Cloud Storage does after a week.
    package func expireUploads() {
        state.withLock { state in
            state.sessions = [:]
            state.multiparts = [:]
        }
    }

    /// From now on every read goes through `hook`; nil removes it.
    package func onRead(_ hook: ReadHook?) { readHook.withLock { $0 = hook } }

    func deliver(_ name: ObjectName, _ range: ByteRange, _ bytes: UnsafeMutableRawBufferPointer) {
        readHook.withLock { $0 }?(name, range, bytes)
    }
}
