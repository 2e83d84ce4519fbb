import Checksums
import Glibc
import LinuxPlatform

/// A blob that was just made, open for writing.
struct FreshBlob: ~Copyable {
    let number: Int64
    let file: FileDescriptor
}

/// The buckets and objects of the emulator, on disk and in memory; knows nothing of HTTP.
final class StorageService: Sendable {
    let blobs: BlobStore
    /// Whether every upload gets an MD5, as in production; it costs more time than all else.
    let computesMD5: Bool
    private let records: RecordStore
    private let state: Lock<StorageState>
    private let time: any TimeSource

    /// Opens what a directory holds, or starts an empty one.
    ///
    /// - Throws: the `errno` of a failing file operation.
    init(root: String, computesMD5: Bool, time: any TimeSource = SystemTime()) throws(Errno) {
        blobs = try BlobStore(directory: "\(root)/blobs")
        records = try RecordStore(directory: "\(root)/records")
        self.computesMD5 = computesMD5
        self.time = time
        let loaded = try Self.load(records)
        try blobs.removeAll(except: loaded.liveBlobs)
        state = Lock(loaded)
    }

    var now: UnixTime { time.timeOfDay() }

    /// Looks at the state.
    func read<Value>(_ body: (StorageState) throws(APIError) -> Value) throws(APIError) -> Value {
        try state.withLock { (state) throws(APIError) in try body(state) }
    }

    /// Changes the state, then the disk; returns when a restart would find the change.
    ///
    /// - Parameter body: throws before it changes anything.
    func transact<Value>(
        _ body: (inout StorageState, inout StorageState.Change) throws(APIError) -> Value
    ) throws(APIError) -> Value {
        var change = StorageState.Change()
        let value = try state.withLock { (state) throws(APIError) in try body(&state, &change) }
        do throws(Errno) {
            for write in change.writes {
                try records.write(write.name, write.value)
                // A later change may have removed it before it was there.
                if !state.withLock({ $0.isLive(write.name) }) { records.remove(write.name) }
            }
        } catch {
            throw .storage(error)
        }
        change.removals.forEach(records.remove)
        change.blobs.forEach(blobs.remove)
        return value
    }

    /// A new blob that nothing refers to yet: refer to it or remove it.
    func makeBlob() throws(APIError) -> FreshBlob {
        let blob = try transact { (state, _) throws(APIError) in state.nextNumber(self.now) }
        do throws(Errno) {
            return FreshBlob(number: blob, file: try blobs.create(blob))
        } catch {
            throw .storage(error)
        }
    }

    /// The files behind a part of an object, opened.
    ///
    /// - Throws: 404 when the generation is gone meanwhile.
    func openContent(_ object: StoredObject, _ range: Range<Int>) throws(APIError) -> [EmulatorResponse.FileSegment] {
        var segments: [EmulatorResponse.FileSegment] = []
        var start = 0
        for extent in object.extents {
            let part = range.clamped(to: start..<(start + extent.count))
            let offset = extent.offset + part.lowerBound - start
            start += extent.count
            if part.isEmpty { continue }
            do throws(Errno) {
                let file = try EmulatorResponse.OpenFile(path: blobs.path(extent.blob))
                segments.append(.init(file: file, offset: offset, count: part.count))
            } catch .noEntry {
                throw .noObject(object.bucket, object.name)
            } catch {
                throw .storage(error)
            }
        }
        return segments
    }

    private static func load(_ records: RecordStore) throws(Errno) -> StorageState {
        var state = StorageState()
        for (name, value) in try latest(records, .buckets) {
            guard let bucket = StoredBucket(record: value) else { continue }
            state.buckets[NameKey(bucket.name)] = bucket
            state.adopt(name)
        }
        let objects = try latest(records, .objects).compactMap { StoredObject(record: $0.value) }
        for object in objects.sorted(by: { $0.generation < $1.generation }) {
            // Killed between writing the new generation and removing the old one.
            if let old = try? state.object(object.bucket, object.name) {
                var change = StorageState.Change()
                state.delete(old, &change)
                change.removals.forEach(records.remove)
            }
            state.adopt(object)
        }
        for (name, value) in try latest(records, .uploads) {
            if let upload = ResumableUpload(record: value) {
                state.resumables[upload.id] = upload
                if upload.phase == .open { state.retain(upload.extents) }
                state.reserve(upload.blob)
            } else if let upload = MultipartUpload(record: value) {
                state.multiparts[upload.id] = upload
                state.retain(upload.parts.values.map(\.extent))
                for part in upload.parts.values { state.reserve(part.extent.blob) }
            }
            state.adopt(name)
        }
        return state
    }

    /// The record of the highest version of each thing; the others are removed.
    private static func latest(
        _ records: RecordStore,
        _ kind: RecordStore.Kind
    ) throws(Errno) -> [(name: RecordStore.Name, value: JSONValue)] {
        var latest: [String: (version: Int64, name: RecordStore.Name, value: JSONValue)] = [:]
        for (name, value) in try records.all(kind) {
            guard let dot = name.word.lastIndex(of: "."), let version = Int64(name.word[dot...].dropFirst()) else {
                continue
            }
            let thing = String(name.word[..<dot])
            guard let other = latest[thing] else {
                latest[thing] = (version, name, value)
                continue
            }
            records.remove(other.version < version ? other.name : name)
            if other.version < version { latest[thing] = (version, name, value) }
        }
        return latest.values.map { ($0.name, $0.value) }
    }
}
