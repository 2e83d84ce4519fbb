package import Checksums
import FoundationEssentials

/// What a part object says of itself in its custom metadata: which bytes of which content it holds, and their CRCs.
///
/// The granules must combine to the CRC32C that the store computed, and a check covers the rest, so that no changed
/// metadata is taken for a part's. Source of the limits: Cloud Storage, "Quotas & limits": 8 KiB of custom metadata in
/// all, of which one value is at most 4 KiB here.
package struct PartMetadata: Hashable, Sendable {
    /// The largest part whose granules fit: 64 MiB.
    package static let maximumPartSize = 64 << 20

    package let transfer: TransferID
    /// Where the part begins in the content: a multiple of the granule size.
    package let offset: Int
    package let granules: CRCTable

    /// The part's length in bytes.
    package var size: Int { granules.size }
    /// Of the part's bytes, as the store must report it.
    package var crc32c: CRC32C { granules.combined }

    /// - Parameter granules: of the part alone.
    /// - Throws: `invalid` when the offset is negative or not a multiple of the granule size, or the part is empty;
    ///   `tooLarge` past `maximumPartSize`.
    package init(transfer: TransferID, offset: Int, granules: CRCTable) throws(ManifestError) {
        guard offset >= 0, offset % CRCTable.granuleSize == 0, granules.size > 0 else {
            throw ManifestError(
                .invalid,
                Self.subject,
                "offset \(offset), size \(granules.size): a part begins at a multiple of 64 KiB and is not empty"
            )
        }
        if granules.size > Self.maximumPartSize {
            throw ManifestError(.tooLarge, Self.subject, "\(granules.size) bytes are over \(Self.maximumPartSize)")
        }
        self.transfer = transfer
        self.offset = offset
        self.granules = granules
    }

    /// The custom metadata to store.
    package func encoded() -> [String: String] {
        var metadata = [
            Key.transfer: transfer.value,
            Key.offset: String(offset),
            Key.size: String(size),
        ]
        let table = granules.encoded()
        for index in 0..<Key.granules.count {
            let chunk = table.dropFirst(index * Self.chunk).prefix(Self.chunk)
            if !chunk.isEmpty { metadata[Key.granules[index]] = Data(chunk).base64EncodedString() }
        }
        metadata[Key.check] = Self.check(metadata).description
        return metadata
    }

    /// Reads a part's metadata and proves it.
    ///
    /// - Parameters:
    ///   - metadata: all custom metadata of the object; what is not ours is ignored.
    ///   - size: of the object, as the store reports it.
    ///   - crc32c: of the object, as the store computed it.
    /// - Throws: `damaged` when anything differs.
    package init(decoding metadata: [String: String], size: Int, crc32c: CRC32C) throws(ManifestError) {
        guard metadata[Key.check] == Self.check(metadata).description else {
            throw ManifestError(.damaged, Self.subject, "the metadata does not match its own check: it was changed")
        }
        guard let transfer = metadata[Key.transfer].flatMap({ TransferID($0) }),
            let offset = metadata[Key.offset].flatMap({ Int($0) }), metadata[Key.size] == String(size),
            size <= Self.maximumPartSize
        else {
            throw ManifestError(.damaged, Self.subject, "the metadata is not that of a part of \(size) bytes")
        }
        var table: [UInt8] = []
        for key in Key.granules {
            guard let text = metadata[key] else { break }
            guard let chunk = Data(base64Encoded: text) else {
                throw ManifestError(.damaged, Self.subject, "the granules are not base64")
            }
            table += chunk
        }
        let granules = try CRCTable(decoding: table, size: size, crc32c: crc32c)
        try self.init(transfer: transfer, offset: offset, granules: granules)
    }

    private static let subject = "part metadata"
    /// 3 KiB of table are 4 KiB of base64; a little less keeps a value under its limit with room to spare.
    private static let chunk = 2048

    private enum Key {
        static let transfer = "penstock-transfer"
        static let offset = "penstock-offset"
        static let size = "penstock-size"
        static let granules = ["penstock-granules-0", "penstock-granules-1"]
        static let check = "penstock-check"
        static let checked = [transfer, offset, size] + granules
    }

    /// The CRC32C over our own metadata, each value as `key=value` and a line feed.
    private static func check(_ metadata: [String: String]) -> CRC32C {
        var text = ""
        for key in Key.checked { if let value = metadata[key] { text += "\(key)=\(value)\n" } }
        return CRC32C.of(Array(text.utf8))
    }
}
