import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

// A content as an XML multipart upload to its staged name. Part `n` holds the bytes from `(n - 1) * unitSize` on, so that
// numbers need no record. States beside the upload (`UploadState`) let a later run go on: the hash goes on after the
// newest one, and of the parts before it the store's list says which are there. A part that is not (its request was on
// its way when the process died, while the hash was ahead) is fetched again, and must have the granules of the states.
// What the list cannot tell, whether a part's bytes are right, the CRC32C of the completed object tells.

/// Parts that are no objects: they appear as one when all are there.
struct MultipartParts: PartedUpload {
    private let stager: FileStager
    private let file: SourceFile
    private let upload: MultipartUpload
    /// The generation of the lease that the upload began under: the last segment of its name.
    private let lease: Generation
    private let parts: Lock<[Int: MultipartPart]>
    private let queue: Lock<UploadStateQueue<CheckedContinuation<[HashedUnit]?, Never>>>
    /// The granules of everything before `mark`.
    private let known: [CRC32C]

    let unitSize: Int
    let held: [HeldRun]
    let mark: DigestMark?

    /// Every unit: each keeps its buffer until a state covers it.
    var markInterval: Int { unitSize }

    private var resources: TransferResources { stager.resources }
    private var store: any ObjectStore { stager.store }

    private init(_ stager: FileStager, _ file: SourceFile, _ found: UploadRemains) {
        self.stager = stager
        self.file = file
        upload = found.upload
        lease = found.lease
        unitSize = found.unitSize
        known = found.granules
        mark = found.last.map { DigestMark($0.hash) }
        let end = mark?.offset ?? 0
        let unitSize = unitSize
        var held: [HeldRun] = []
        var stored: [Int: MultipartPart] = [:]
        for part in found.parts {
            let offset = (part.number - 1) * unitSize
            guard offset < end, part.size == min(unitSize, file.size - offset) else { continue }
            let range = ByteRange(offset: offset, count: part.size)
            held.append(HeldRun(range: range, granules: Self.granules(found.granules, of: range)))
            stored[part.number] = part
        }
        self.held = held
        parts = Lock(stored)
        queue = Lock(UploadStateQueue(from: end, maximumSpan: UploadState.maximumSpan))
    }

    /// Goes on with the upload that is furthest, or begins one.
    ///
    /// - Returns: nil when the store knows no multipart uploads.
    static func open(
        _ stager: FileStager,
        _ file: SourceFile,
        _ remains: TransferRemains
    ) async throws(SnapshotError) -> MultipartParts? {
        let largest = stager.resources.pool.bufferSize
        let found = try await stager.storing(file) { () async throws(ObjectStoreError) in
            try await UploadRemains.furthest(remains.uploadStates, of: file, largestUnit: largest, in: stager.resources)
        }
        if let found { return MultipartParts(stager, file, found) }
        let name = try stager.stagedName(file)
        let options = stager.stagedOptions(file)
        do throws(ObjectStoreError) {
            let upload = try await stager.store.beginMultipart(name, options)
            let lease = stager.resources.lease
            return MultipartParts(stager, file, UploadRemains(upload, lease: lease, unitSize: stager.unitSize(file)))
        } catch {
            if [.unsupported, .invalidRequest, .protocolViolation].contains(error.code) { return nil }
            throw SnapshotError(error, while: "storing \(file.path)")
        }
    }

    func granules(of range: ByteRange) -> [CRC32C]? {
        guard let mark, range.end <= mark.offset else { return nil }
        return Self.granules(known, of: range)
    }

    private static func granules(_ all: [CRC32C], of range: ByteRange) -> [CRC32C] {
        let first = range.offset / UnitPlan.granule
        return Array(all[first..<CRCTable.granuleCount(of: range.end)])
    }

    func put(_ unit: FetchedUnit, _ body: ByteSegments) async throws(SnapshotError) {
        let number = unit.range.offset / unitSize + 1
        let part = try await stager.storing(file) { () async throws(ObjectStoreError) in
            try await stager.sendingAgain { () async throws(ObjectStoreError) in
                try await store.putPart(upload, number: number, body, crc32c: unit.crc32c)
            }
        }
        parts.withLock { $0[number] = part }
    }

    func complete(_ digests: FileDigests) async throws(SnapshotError) -> ObjectAttributes {
        let all = parts.withLock { $0.values.sorted { $0.number < $1.number } }
        let whole = try await stager.storing(file) { () async throws(ObjectStoreError) in
            do throws(ObjectStoreError) {
                return try await store.completeMultipart(upload, all)
            } catch {
                // Over: by a reply that was lost, or by the process that had the lease before.
                guard error.code == .notFound, let whole = try? await store.attributes(upload.name, generation: nil)
                else { throw error }
                return whole
            }
        }
        return try await stager.compared(whole, file, digests)
    }

    func abandon() async { try? await store.abortMultipart(upload) }
}

// MARK: - States

extension MultipartParts {
    func keep(_ mark: DigestMark, after unit: FetchedUnit) async {
        let hashed = HashedUnit(range: unit.range, granules: unit.granules, mark: mark)
        let batch = await withCheckedContinuation { continuation in
            switch queue.withLock({ $0.add(hashed, continuation) }) {
            case .leave: continuation.resume(returning: nil)
            case .wait: break
            case .save(let batch): continuation.resume(returning: batch)
            }
        }
        guard let batch else { return }
        let isSaved = await save(batch)
        let outcome = queue.withLock { $0.saved(isSaved) }
        for waiter in outcome.released { waiter.resume(returning: nil) }
        if let next = outcome.next { next.saver.resume(returning: next.batch) }
    }

    func giveUp() {
        for waiter in queue.withLock({ $0.close() }) { waiter.resume(returning: nil) }
    }

    private func save(_ batch: [HashedUnit]) async -> Bool {
        guard let first = batch.first, let last = batch.last else { return true }
        let transfer = file.hash.transfer
        guard
            let hash = try? HashState(last.mark, of: transfer),
            let granules = try? CRCTable(
                granules: batch.flatMap(\.granules),
                size: last.range.end - first.range.offset
            ),
            let state = try? UploadState(
                hash: hash,
                uploadID: upload.uploadID,
                unitSize: unitSize,
                granules: granules
            ), let bytes = try? state.encoded(),
            let name = try? resources.paths.uploadState(transfer, lease: lease, offset: hash.offset)
        else { return false }
        let options = WriteOptions(.absent, storageClass: "STANDARD", crc32c: CRC32C.of(bytes))
        return (try? await stager.put(name, ByteSegments(bytes), options)) != nil
    }
}
