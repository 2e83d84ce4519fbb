package import Checksums
import FoundationEssentials

/// A saved hash in the middle of a file: a resume aid, bound to the bytes that it covers by their CRC32C.
package struct HashState: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 16 << 10
    private static let maximumState = 256

    package let transfer: TransferID
    /// How many bytes of the content it covers.
    package let offset: Int
    /// Of exactly these bytes; the parts below `offset` must combine to it, or the state is not used.
    package let crc32c: CRC32C
    /// As `Checksums` saves them.
    package let sha256: [UInt8]
    package let gitSHA1: [UInt8]?

    /// - Throws: `invalid` for a negative offset, or a state of 0 or over 256 bytes.
    package init(
        transfer: TransferID,
        offset: Int,
        crc32c: CRC32C,
        sha256: [UInt8],
        gitSHA1: [UInt8]? = nil
    ) throws(ManifestError) {
        guard offset >= 0 else {
            throw ManifestError(.invalid, Self.subject, "the offset \(offset) is negative")
        }
        for state in [sha256, gitSHA1].compactMap(\.self) where !(1...Self.maximumState).contains(state.count) {
            throw ManifestError(.invalid, Self.subject, "a state of \(state.count) bytes is none of ours")
        }
        self.transfer = transfer
        self.offset = offset
        self.crc32c = crc32c
        self.sha256 = sha256
        self.gitSHA1 = gitSHA1
    }

    /// The bytes to store: the same for equal states.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(HashStateWire(self)) }

    /// Reads a stored state and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(HashStateWire.self, from: bytes)
        let reader = WireReader(subject: Self.subject)
        try self.init(
            transfer: reader.transfer(wire.transfer, "transfer"),
            offset: wire.offset,
            crc32c: reader.crc32c(wire.crc32c, "crc32c"),
            sha256: Array(wire.sha256),
            gitSHA1: wire.gitSHA1.map { Array($0) }
        )
    }

    fileprivate static let subject = "hash state"
}

private struct HashStateWire: SealedContent {
    static let subject = HashState.subject
    static let currentVersion = HashState.formatVersion
    static let maximumBytes = HashState.maximumBytes

    let formatVersion: Int
    let transfer: String
    let offset: Int
    let crc32c: String
    let sha256: Data
    let gitSHA1: Data?

    init(_ state: HashState) {
        formatVersion = Self.currentVersion
        transfer = state.transfer.value
        offset = state.offset
        crc32c = state.crc32c.description
        sha256 = Data(state.sha256)
        gitSHA1 = state.gitSHA1.map { Data($0) }
    }
}
