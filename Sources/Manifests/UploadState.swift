import Checksums
import FoundationEssentials
package import ObjectStorage

// Parts of a multipart upload cannot be read back, and listing them gives no checksum. So what a later run must know of
// them is kept beside: a row of states, each of which adds a span of the content to the one before it. The row is
// believed as far as it has no gap: each state is sealed, begins where the last one ended, and its CRC32C is the last
// one's with the span's granules behind it.

/// One step of a multipart upload: the hash after it, and the granule CRCs of the span that it adds.
package struct UploadState: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 64 << 10
    /// The longest span of one state, in bytes: its granules are 32 KiB.
    package static let maximumSpan = 512 << 20
    private static let maximumUploadID = 1024

    /// After the span.
    package let hash: HashState
    /// As the store named the upload.
    package let uploadID: String
    /// Bytes of every part but the last: part `n` begins at `(n - 1) * unitSize`.
    package let unitSize: Int
    /// Of the span's bytes.
    package let granules: CRCTable

    /// What the state adds to the one before it.
    package var span: ByteRange { ByteRange(offset: hash.offset - granules.size, count: granules.size) }

    /// - Throws: `invalid` when the span is empty, over `maximumSpan`, or not made of whole parts; when the upload's id is
    ///   empty or over 1,024 bytes.
    package init(
        hash: HashState,
        uploadID: String,
        unitSize: Int,
        granules: CRCTable
    ) throws(ManifestError) {
        guard (1...Self.maximumUploadID).contains(uploadID.utf8.count) else {
            throw ManifestError(.invalid, Self.subject, "an upload id of \(uploadID.utf8.count) bytes is none")
        }
        guard unitSize > 0, unitSize % CRCTable.granuleSize == 0, (1...Self.maximumSpan).contains(granules.size),
            hash.offset >= granules.size, (hash.offset - granules.size) % unitSize == 0
        else {
            let span = "\(granules.size) bytes up to \(hash.offset)"
            throw ManifestError(.invalid, Self.subject, "\(span) are no row of parts of \(unitSize)")
        }
        self.hash = hash
        self.uploadID = uploadID
        self.unitSize = unitSize
        self.granules = granules
    }

    /// Whether this is the next step of the same upload: it begins where `last` ended, and its CRC32C covers both.
    ///
    /// - Parameter last: nil when this is the first.
    package func follows(_ last: UploadState?) -> Bool {
        let crc32c = (last?.hash.crc32c ?? .empty).combine(with: granules.combined, count: granules.size)
        guard span.offset == last?.hash.offset ?? 0, hash.crc32c == crc32c else { return false }
        guard let last else { return true }
        return last.uploadID == uploadID && last.unitSize == unitSize && last.hash.transfer == hash.transfer
    }

    /// The bytes to store: the same for equal states.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(UploadStateWire(self)) }

    /// Reads a stored state and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(UploadStateWire.self, from: bytes)
        let reader = WireReader(subject: Self.subject)
        let hash = try HashState(
            transfer: reader.transfer(wire.transfer, "transfer"),
            offset: wire.offset,
            crc32c: reader.crc32c(wire.crc32c, "crc32c"),
            sha256: Array(wire.sha256),
            gitSHA1: wire.gitSHA1.map { Array($0) }
        )
        let granules = try CRCTable(
            decoding: Array(wire.granules),
            size: wire.span,
            crc32c: reader.crc32c(wire.spanCRC32C, "spanCRC32C")
        )
        try self.init(hash: hash, uploadID: wire.uploadID, unitSize: wire.unitSize, granules: granules)
    }

    fileprivate static let subject = "upload state"
}

private struct UploadStateWire: SealedContent {
    static let subject = UploadState.subject
    static let currentVersion = UploadState.formatVersion
    static let maximumBytes = UploadState.maximumBytes

    let formatVersion: Int
    let transfer: String
    let offset: Int
    let crc32c: String
    let sha256: Data
    let gitSHA1: Data?
    let uploadID: String
    let unitSize: Int
    let span: Int
    let spanCRC32C: String
    let granules: Data

    init(_ state: UploadState) {
        formatVersion = Self.currentVersion
        transfer = state.hash.transfer.value
        offset = state.hash.offset
        crc32c = state.hash.crc32c.description
        sha256 = Data(state.hash.sha256)
        gitSHA1 = state.hash.gitSHA1.map { Data($0) }
        uploadID = state.uploadID
        unitSize = state.unitSize
        span = state.granules.size
        spanCRC32C = state.granules.combined.description
        granules = Data(state.granules.encoded())
    }
}
