package import Checksums
package import LinuxPlatform

/// The state an object must be in for a write to happen.
package enum WritePrecondition: Hashable, Sendable {
    /// Create only.
    case absent
    /// Replace exactly this content.
    case generation(Generation)
    /// Whatever is there. Not retried after a failure that may have been a success.
    case any
}

/// What a new object shall be, besides its bytes.
package struct WriteOptions: Sendable {
    package var precondition: WritePrecondition
    package var contentType: String
    /// Custom metadata: keys in lower case, 8 KiB in all.
    package var metadata: [String: String]
    /// Nil: the bucket's default.
    package var storageClass: String?
    /// Of the whole content; sent ahead where the protocol can, and always compared with what the store reports.
    package var crc32c: CRC32C?
    /// False for what is replaced under its name: caches between a public bucket and its readers may not keep it, which
    /// they do for an hour otherwise. Stores without caches pay no attention.
    package var mayBeCached: Bool

    package init(
        _ precondition: WritePrecondition,
        contentType: String = "application/octet-stream",
        metadata: [String: String] = [:],
        storageClass: String? = nil,
        crc32c: CRC32C? = nil,
        mayBeCached: Bool = true
    ) {
        self.precondition = precondition
        self.contentType = contentType
        self.metadata = metadata
        self.storageClass = storageClass
        self.crc32c = crc32c
        self.mayBeCached = mayBeCached
    }
}

/// One page of a listing, in byte order of names.
package struct ListPage: Sendable {
    package var objects: [ObjectAttributes]
    /// With a delimiter: what stands below one more level, each ending in the delimiter.
    package var prefixes: [String]
    /// There is more when it is not nil, even if this page is empty.
    package var nextPageToken: String?

    package init(objects: [ObjectAttributes] = [], prefixes: [String] = [], nextPageToken: String? = nil) {
        self.objects = objects
        self.prefixes = prefixes
        self.nextPageToken = nextPageToken
    }
}

/// A listing to ask for.
package struct ListRequest: Sendable {
    /// Any bytes; not only whole segments.
    package var prefix: String
    /// `/` to stop at directories; nil for everything below.
    package var delimiter: String?
    /// Objects and prefixes in one page, 1 to 1,000.
    package var pageSize: Int
    package var pageToken: String?
    /// The first name to list, included.
    package var startOffset: String?

    package init(
        prefix: String,
        delimiter: String? = nil,
        pageSize: Int = 1000,
        pageToken: String? = nil,
        startOffset: String? = nil
    ) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.pageSize = pageSize
        self.pageToken = pageToken
        self.startOffset = startOffset
    }
}

/// A source of a compose: a component, pinned.
package struct ComposeSource: Hashable, Sendable {
    package var name: ObjectName
    package var generation: Generation
    package init(_ name: ObjectName, _ generation: Generation) {
        self.name = name
        self.generation = generation
    }
}

/// A resumable upload that is under way. The URI is a bearer secret: store it 0600, never log it.
package struct UploadSession: Sendable, CustomStringConvertible {
    package let secretURI: String
    package let name: ObjectName
    package init(secretURI: String, name: ObjectName) {
        self.secretURI = secretURI
        self.name = name
    }
    package var description: String { "upload session of \(name)" }
}

/// How far an upload session is.
package enum UploadProgress: Sendable {
    /// The store holds this many bytes for good; nothing is visible yet.
    case persisted(Int)
    case finished(ObjectAttributes)
}

/// A part of a multipart upload, as the store names it.
package struct MultipartPart: Hashable, Sendable {
    /// 1 to 10,000.
    package var number: Int
    package var size: Int
    package var etag: String
    package init(number: Int, size: Int, etag: String) {
        self.number = number
        self.size = size
        self.etag = etag
    }
}

/// A multipart upload that is under way: its parts are no objects, and are billed until it is completed or aborted.
package struct MultipartUpload: Hashable, Sendable {
    package var name: ObjectName
    package var uploadID: String
    package init(name: ObjectName, uploadID: String) {
        self.name = name
        self.uploadID = uploadID
    }
}

/// A bucket, or a directory that behaves like one.
///
/// Every operation retries what is transient and safe to repeat, within the store's own deadline, before it throws. A
/// write whose reply was lost is settled before it returns: by its precondition and what the store then holds. Reads
/// after writes, and listings after writes and deletes, are consistent.
package protocol ObjectStore: AnyObject, Sendable {
    /// The store's URL for people, for example `gs://bucket`.
    var label: String { get }

    /// The time of day by the store's clock: leases expire by it.
    func serverTime() async throws(ObjectStoreError) -> UnixTime

    func layout() async throws(ObjectStoreError) -> StorageLayout

    /// - Throws: `notFound` when there is no such object (or generation).
    func attributes(_ name: ObjectName, generation: Generation?) async throws(ObjectStoreError) -> ObjectAttributes

    /// A source of the ranges of exactly this generation. When that is gone its reads fail with `notFound`.
    func source(_ attributes: ObjectAttributes) -> any RangedSource

    /// A whole small object, verified.
    ///
    /// - Throws: `integrity` also when it is larger than `limit` bytes; `notFound`.
    func contents(
        _ name: ObjectName,
        generation: Generation?,
        limit: Int
    ) async throws(ObjectStoreError) -> (attributes: ObjectAttributes, bytes: [UInt8])

    /// The bytes of `contents` where nobody asks whose they are, in one round trip if the store can.
    ///
    /// - Throws: as `contents`.
    func currentBytes(_ name: ObjectName, limit: Int) async throws(ObjectStoreError) -> [UInt8]

    func list(_ request: ListRequest) async throws(ObjectStoreError) -> ListPage

    /// One request, the whole object; for what fits in memory.
    func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// Opens a resumable upload. Nothing is visible until its last byte.
    ///
    /// - Parameter size: of the whole object, when it is known.
    func beginUpload(
        _ name: ObjectName,
        size: Int?,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> UploadSession

    /// Sends the bytes from `offset` on; not retried: on failure ask `uploadProgress` and go on from there.
    ///
    /// - Parameter isLast: the body ends the object. Otherwise its length is a multiple of 256 KiB.
    /// - Returns: how far the session is; it may hold fewer bytes than were sent.
    func continueUpload(
        _ session: UploadSession,
        _ body: ByteSegments,
        at offset: Int,
        isLast: Bool
    ) async throws(ObjectStoreError) -> UploadProgress

    /// - Throws: `sessionLost` when only a new upload helps.
    func uploadProgress(_ session: UploadSession) async throws(ObjectStoreError) -> UploadProgress

    func cancelUpload(_ session: UploadSession) async throws(ObjectStoreError)

    /// Joins 1 to 32 objects of the bucket, in order, into one. The sources stay.
    func compose(
        _ sources: [ComposeSource],
        into name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// Copies within the bucket, on the server's side.
    ///
    /// - Parameter metadata: replaces the custom metadata when not nil.
    func copy(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        metadata: [String: String]?
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// Renames an object in one transaction; its metadata stays.
    ///
    /// - Throws: `unsupported` where the store has no such operation: copy, then delete.
    func move(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// Deletes exactly this generation. One that is gone already is a success.
    func delete(_ name: ObjectName, _ generation: Generation) async throws(ObjectStoreError)

    /// Changes custom metadata; a nil value removes the key, others stay.
    ///
    /// - Throws: `preconditionFailed` when the metageneration is not `metageneration`, or the generation is another.
    func patch(
        _ name: ObjectName,
        _ generation: Generation,
        metageneration: Int64,
        metadata: [String: String?]
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// - Returns: the upload to put parts to; the object appears when it is completed.
    func beginMultipart(_ name: ObjectName, _ options: WriteOptions) async throws(ObjectStoreError) -> MultipartUpload

    /// Puts a part of 5 MiB to 5 GiB (the last one may be smaller); a part of the same number is replaced.
    func putPart(
        _ upload: MultipartUpload,
        number: Int,
        _ body: ByteSegments,
        crc32c: CRC32C
    ) async throws(ObjectStoreError) -> MultipartPart

    func parts(_ upload: MultipartUpload) async throws(ObjectStoreError) -> [MultipartPart]

    /// Multipart uploads under way for names that begin with `prefix`.
    func multipartUploads(prefix: String) async throws(ObjectStoreError) -> [MultipartUpload]

    /// Makes the object of its parts, replacing what is there.
    func completeMultipart(
        _ upload: MultipartUpload,
        _ parts: [MultipartPart]
    ) async throws(ObjectStoreError) -> ObjectAttributes

    /// Drops the upload and its parts. One that is gone already is a success.
    func abortMultipart(_ upload: MultipartUpload) async throws(ObjectStoreError)

    /// Creates a folder and its parents; one that exists is a success. Hierarchical buckets only.
    func createFolder(_ name: String) async throws(ObjectStoreError)

    /// Deletes an empty folder. Hierarchical buckets only.
    func deleteFolder(_ name: String) async throws(ObjectStoreError)

    /// Renames a folder with everything below it, at once, and waits for it. Hierarchical buckets only.
    func renameFolder(_ source: String, to name: String) async throws(ObjectStoreError)
}

extension ObjectStore {
    package func currentBytes(_ name: ObjectName, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await contents(name, generation: nil, limit: limit).bytes
    }

    /// Every object under `prefix`, in byte order, page by page.
    ///
    /// - Parameter limit: stops with `invalidRequest` past so many: an unbounded listing is a defect.
    package func listAll(
        prefix: String,
        limit: Int = 1_000_000
    ) async throws(ObjectStoreError) -> [ObjectAttributes] {
        var all: [ObjectAttributes] = []
        var token: String?
        repeat {
            let page = try await list(ListRequest(prefix: prefix, pageToken: token))
            all += page.objects
            if all.count > limit {
                throw ObjectStoreError(.invalidRequest, "more than \(limit) objects under \(label)/\(prefix)")
            }
            token = page.nextPageToken
        } while token != nil
        return all
    }
}
