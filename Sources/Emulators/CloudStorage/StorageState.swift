import Checksums
import LinuxPlatform

/// All buckets, objects and uploads: a state machine without I/O. What must happen on the disk is left in a `Change`.
struct StorageState {
    /// What a call must do on the disk once the lock is released.
    struct Change {
        var writes: [(name: RecordStore.Name, value: JSONValue)] = []
        var removals: [RecordStore.Name] = []
        var blobs: [Int64] = []
    }

    /// A new generation that is to be made.
    struct Draft {
        var bucket: String
        var name: String
        var extents: [StoredObject.Extent]
        var checksum: CRC32C
        var md5: String?
        var componentCount: Int?
        var attributes: [String: JSONValue]
    }

    var buckets = SortedNames<StoredBucket>()
    var resumables: [String: ResumableUpload] = [:]
    var multiparts: [String: MultipartUpload] = [:]
    var operations: [String: JSONValue] = [:]
    private var references: [Int64: Int] = [:]
    private var liveRecords: Set<RecordStore.Name> = []
    private var lastNumber: Int64 = 0

    /// Names of records that were written: one that is not live any more was overtaken, and must go.
    func isLive(_ name: RecordStore.Name) -> Bool { liveRecords.contains(name) }

    var liveBlobs: Set<Int64> { Set(references.keys) }

    /// A number that was never given out: the time in microseconds, as generations look in production.
    mutating func nextNumber(_ now: UnixTime) -> Int64 {
        lastNumber = max(lastNumber + 1, now.nanoseconds / 1000)
        return lastNumber
    }

    /// Makes numbers up to this one taken. For loading.
    mutating func reserve(_ number: Int64) { lastNumber = max(lastNumber, number) }

    mutating func keep(_ name: RecordStore.Name, _ value: JSONValue, _ change: inout Change) {
        liveRecords.insert(name)
        change.writes.append((name, value))
    }

    mutating func forget(_ name: RecordStore.Name, _ change: inout Change) {
        if liveRecords.remove(name) != nil { change.removals.append(name) }
    }

    /// Takes a record that was read from the disk as written.
    mutating func adopt(_ name: RecordStore.Name) { liveRecords.insert(name) }

    mutating func retain(_ extents: [StoredObject.Extent]) {
        for extent in extents { references[extent.blob, default: 0] += 1 }
    }

    mutating func release(_ extents: [StoredObject.Extent], _ change: inout Change) {
        for extent in extents {
            let count = (references[extent.blob] ?? 1) - 1
            references[extent.blob] = count > 0 ? count : nil
            if count == 0 { change.blobs.append(extent.blob) }
        }
    }
}

extension StorageState {
    func bucket(_ name: String) throws(APIError) -> StoredBucket {
        guard let bucket = buckets[NameKey(name)] else { throw .noBucket }
        return bucket
    }

    /// The live object, or the named generation if that is the live one.
    func object(_ bucket: String, _ name: String, generation: Int64? = nil) throws(APIError) -> StoredObject {
        guard let object = try self.bucket(bucket).objects[NameKey(name)],
            generation == nil || generation == object.generation
        else { throw .noObject(bucket, name) }
        return object
    }

    /// Makes a new generation the live one.
    mutating func insert(
        _ draft: Draft,
        _ conditions: Preconditions,
        now: UnixTime,
        _ change: inout Change
    ) throws(APIError) -> StoredObject {
        try checkName(draft.name)
        let old = try bucket(draft.bucket).objects[NameKey(draft.name)]
        try conditions.check(old)
        var attributes = draft.attributes
        if attributes["storageClass"] == nil {
            attributes["storageClass"] = .string(try bucket(draft.bucket).storageClass)
        }
        let object = StoredObject(
            bucket: draft.bucket,
            name: draft.name,
            generation: nextNumber(now),
            extents: draft.extents,
            checksum: draft.checksum,
            md5: draft.md5,
            componentCount: draft.componentCount,
            timeCreated: now,
            updated: now,
            attributes: attributes
        )
        retain(object.extents)
        if let old { discard(old, &change) }
        store(object, &change)
        try createParents(of: draft.name, in: draft.bucket, now: now, &change)
        return object
    }

    /// Changes the metadata of the live object.
    mutating func change(
        _ object: StoredObject,
        attributes: [String: JSONValue],
        now: UnixTime,
        _ change: inout Change
    ) -> StoredObject {
        var changed = object
        changed.attributes = attributes
        changed.metageneration += 1
        changed.updated = now
        forget(object.recordName, &change)
        store(changed, &change)
        return changed
    }

    /// Replaces what the live object is made of, and nothing else. For damaging it on purpose.
    mutating func replaceExtents(of object: StoredObject, by extents: [StoredObject.Extent], _ change: inout Change) {
        var changed = object
        changed.extents = extents
        retain(extents)
        release(object.extents, &change)
        store(changed, &change)
    }

    mutating func delete(_ object: StoredObject, _ change: inout Change) {
        discard(object, &change)
        buckets[NameKey(object.bucket)]?.objects[object.key] = nil
    }

    private mutating func store(_ object: StoredObject, _ change: inout Change) {
        buckets[NameKey(object.bucket)]?.objects[object.key] = object
        keep(object.recordName, object.record, &change)
    }

    private mutating func discard(_ object: StoredObject, _ change: inout Change) {
        release(object.extents, &change)
        forget(object.recordName, &change)
    }

    /// Takes an object that was read from the disk.
    mutating func adopt(_ object: StoredObject) {
        buckets[NameKey(object.bucket)]?.objects[object.key] = object
        adopt(object.recordName)
        retain(object.extents)
        reserve(object.generation)
        for extent in object.extents { reserve(extent.blob) }
    }
}

extension StoredObject {
    var recordName: RecordStore.Name { .init(kind: .objects, word: "\(generation).\(metageneration)") }
}

/// Source: "Object naming guidelines" of Cloud Storage.
func checkName(_ name: String) throws(APIError) {
    let bytes = Array(name.utf8)
    guard !bytes.isEmpty else { throw APIError(400, "required", "Required object name is missing.") }
    guard bytes.count <= 1024 else { throw .invalid("The maximum object name length is 1024 characters.") }
    guard !bytes.contains(0x0A), !bytes.contains(0x0D), !bytes.contains(0), name != ".", name != "..",
        !bytes.starts(with: ".well-known/acme-challenge/".utf8)
    else { throw .invalid("Disallowed unicode characters present in object name '\(name)'") }
}
