import Checksums
import Manifests
import ObjectStorage
import TransferEngine

/// What an earlier run left of a multipart upload: its parts, and what its states say of them.
struct UploadRemains: Sendable {
    var upload: MultipartUpload
    /// The generation of the lease that it began under.
    var lease: Generation
    var unitSize: Int
    /// The newest state that can be believed.
    var last: UploadState?
    /// Of everything before that state.
    var granules: [CRC32C] = []
    /// As the store lists them.
    var parts: [MultipartPart] = []

    init(_ upload: MultipartUpload, lease: Generation, unitSize: Int) {
        self.upload = upload
        self.lease = lease
        self.unitSize = unitSize
    }

    private static let width = 16

    /// The upload whose states reach furthest and that still exists; nil when there is none.
    ///
    /// States that nothing follows from are deleted: the upload that goes on writes new ones under their names.
    static func furthest(
        _ objects: [ObjectAttributes],
        of file: SourceFile,
        largestUnit: Int,
        in resources: TransferResources
    ) async throws(ObjectStoreError) -> UploadRemains? {
        var rows: [(lease: Generation, states: [UploadState], objects: [ObjectAttributes])] = []
        for (lease, group) in Dictionary(grouping: objects, by: { PenstockPaths.lease(in: $0.name) }) {
            guard let lease else { continue }
            let read = try await mapConcurrently(group, limit: width) { object async throws(ObjectStoreError) in
                try await state(object, of: file, largestUnit: largestUnit, in: resources.store)
            }
            let states = row(read.compactMap(\.self))
            if !states.isEmpty { rows.append((lease, states, group)) }
        }
        rows.sort { ($0.states.last?.hash.offset ?? 0) > ($1.states.last?.hash.offset ?? 0) }
        for row in rows {
            guard let last = row.states.last else { continue }
            let name = try resources.paths.staged(file.hash.transfer, lease: row.lease)
            var remains = UploadRemains(
                MultipartUpload(name: name, uploadID: last.uploadID),
                lease: row.lease,
                unitSize: last.unitSize
            )
            do throws(ObjectStoreError) {
                remains.parts = try await resources.store.parts(remains.upload)
            } catch {
                if error.code == .notFound { continue }
                throw error
            }
            remains.last = last
            remains.granules = row.states.flatMap { state in (0..<state.granules.count).map { state.granules[$0] } }
            try await remove(row.objects.filter { beyond($0, last.hash.offset) }, from: resources.store)
            return remains
        }
        return nil
    }

    /// The states that follow each other from the first byte on.
    static func row(_ states: [UploadState]) -> [UploadState] {
        let byStart = Dictionary(grouping: states, by: \.span.offset)
        var row: [UploadState] = []
        // Two may begin at the same byte, when a save failed and a later one took its units along.
        while let next = byStart[row.last?.hash.offset ?? 0]?.filter({ $0.follows(row.last) })
            .max(by: { $0.hash.offset < $1.hash.offset })
        { row.append(next) }
        return row
    }

    private static func beyond(_ object: ObjectAttributes, _ offset: Int) -> Bool {
        PenstockPaths.offset(in: object.name).map { $0 > offset } ?? true
    }

    /// Nil when it is none of this content's, was changed, or has parts that buffers here cannot hold.
    private static func state(
        _ object: ObjectAttributes,
        of file: SourceFile,
        largestUnit: Int,
        in store: any ObjectStore
    ) async throws(ObjectStoreError) -> UploadState? {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            let limit = UploadState.maximumBytes
            bytes = try await store.contents(object.name, generation: object.generation, limit: limit).bytes
        } catch {
            if [.notFound, .integrity].contains(error.code) { return nil }
            throw error
        }
        guard let state = try? UploadState(decoding: bytes), state.hash.transfer == file.hash.transfer,
            state.hash.offset <= file.size, PenstockPaths.offset(in: object.name) == state.hash.offset,
            state.hash.offset % state.unitSize == 0 || state.hash.offset == file.size,
            state.unitSize >= PartStrategy.smallestPart, state.unitSize <= largestUnit,
            file.size <= PartStrategy.mostParts * state.unitSize
        else { return nil }
        return state
    }

    private static func remove(
        _ objects: [ObjectAttributes],
        from store: any ObjectStore
    ) async throws(ObjectStoreError) {
        _ = try await mapConcurrently(objects, limit: width) { object async throws(ObjectStoreError) in
            try await store.delete(object.name, object.generation)
        }
    }
}
