import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

// The parts of a large content reach the bucket in one of two ways, and become one staged object.
//
//   components  each part is an object whose metadata proves it; the whole is composed. A later run reads back what it
//               must hash again. The parts are deleted at the end.
//   multipart   each part belongs to an XML multipart upload and is no object: nothing to delete, no extra bytes billed.
//               A later run cannot read them back, so states beside the upload say what it needs to know.
//
// Where a bucket keeps deleted objects for days (soft delete, the default of new buckets), or bills a least time of
// storage, every component costs as much again as the file. So multipart is the rule there, and where the bucket does
// not let us know; components where deleting is free, and where multipart cannot be.

/// Which way the parts of a content take.
enum PartStrategy: Sendable {
    case components
    case multipart

    /// Source of the limits: Cloud Storage, "XML API multipart uploads".
    static let smallestPart = 5 << 20
    static let mostParts = 10_000

    /// - Parameters:
    ///   - unitSize: bytes of every part but the last.
    ///   - layout: nil when the caller may not look at the bucket.
    static func choose(for file: SourceFile, unitSize: Int, in layout: StorageLayout?) -> PartStrategy {
        let count = (file.size + unitSize - 1) / unitSize
        guard unitSize >= smallestPart, count <= mostParts else { return .components }
        // A multipart upload gets its metadata before its first byte, and the SHA-256 belongs into it.
        guard case .sha256 = file.hash else { return .components }
        guard let layout, let retention = layout.softDeleteRetentionSeconds else { return .multipart }
        let deletesAreFree = retention == 0 && (layout.defaultStorageClass ?? "STANDARD") == "STANDARD"
        return deletesAreFree ? .components : .multipart
    }
}

/// A run of a content's bytes that is in the bucket, and its granule CRCs.
struct HeldRun: Sendable {
    var range: ByteRange
    var granules: [CRC32C]
    /// Where it can be read back from; it begins with `range`. Nil when it cannot.
    var object: ObjectAttributes?
}

/// A unit that was fetched.
struct FetchedUnit: Sendable {
    var range: ByteRange
    var granules: [CRC32C]
    var crc32c: CRC32C
    /// Of the last unit, which no saved state covers: it counts as memory until the content is whole, so that what a kill
    /// wastes stays under the buffers.
    private var buffer: BufferLease?

    func holding(_ buffer: BufferLease) -> FetchedUnit {
        var unit = self
        unit.buffer = buffer
        return unit
    }

    init(_ range: ByteRange, _ granules: [CRC32C]) {
        self.range = range
        self.granules = granules
        crc32c = GranuleAccumulator.combined(granules, count: range.count)
    }
}

extension DigestMark {
    init(_ state: HashState) {
        self.init(offset: state.offset, crc32c: state.crc32c, sha256State: state.sha256, gitState: state.gitSHA1)
    }
}

extension HashState {
    /// - Throws: when the mark is none that a state can record.
    init(_ mark: DigestMark, of transfer: TransferID) throws(ManifestError) {
        try self.init(
            transfer: transfer,
            offset: mark.offset,
            crc32c: mark.crc32c,
            sha256: mark.sha256State,
            gitSHA1: mark.gitState
        )
    }
}

/// Where the parts of one content go, and what earlier runs left there.
protocol PartedUpload: Sendable {
    /// Bytes of a new part; the last may be shorter.
    var unitSize: Int { get }
    /// Bytes between two states that `keep` gets.
    var markInterval: Int { get }
    /// What need not be stored again, in order, none overlapping.
    var held: [HeldRun] { get }
    /// A proven state of the hashes, or nil to begin at the first byte. What `held` has behind it can be read back.
    var mark: DigestMark? { get }

    /// The granules that a range before `mark` must have; nil when they are not known.
    func granules(of range: ByteRange) -> [CRC32C]?

    /// Stores a unit as a part.
    func put(_ unit: FetchedUnit, _ body: ByteSegments) async throws(SnapshotError)

    /// Saves a state of the hashes for a later run; a failure only costs that run time. The unit's buffer is not let go
    /// before it returns.
    func keep(_ mark: DigestMark, after unit: FetchedUnit) async

    /// The file is given up for now: nobody may wait in `keep` any longer.
    func giveUp()

    /// Makes the staged object of all parts, and compares it with what was proven.
    func complete(_ digests: FileDigests) async throws(SnapshotError) -> ObjectAttributes

    /// Drops what `discard` of the content's objects would leave.
    func abandon() async
}
